package policy_test

import (
	"encoding/hex"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/wallet"
)

const (
	owner  = "cli_owner"
	payee  = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
	token  = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
	walID  = "wal_01jc8z4q2rfkvs6xw0n7m3e5tb"
	chain  = "eip155:1337"
	limit  = "0000000000000000000000000000000000000000000000000000000000000064"
	unlim  = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	padded = "0000000000000000000000005aaeb6053f3e94c9b9a09f33669435e7ef1beaed" // payee as an ABI word
)

func request(typ, body string) policy.Input {
	return policy.Input{
		Message: message.Message{ID: "msg_1", Type: typ, Client: owner, Chain: chain, Body: json.RawMessage(body)},
		Client:  clients.Client{ID: owner, Name: "Owner"},
		Wallet:  &wallet.Wallet{ID: walID, Owner: owner, Name: "main", Chain: chain, Address: token},
		Now:     time.Unix(1800000000, 0),
	}
}

func transfer(asset string) policy.Input {
	return request("transfer.v1", `{"wallet":"`+walID+`","to":"`+payee+`","asset":"`+asset+`","amount":"100","memo":""}`)
}

func call(data string) policy.Input {
	return request("call.v1", `{"wallet":"`+walID+`","to":"`+token+`","value":"0","data":"`+data+`"}`)
}

func shipped(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func load(t testing.TB, rules string) *policy.Policy {
	t.Helper()
	p, err := policy.Load([]byte(rules), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expect(t *testing.T, p *policy.Policy, in policy.Input, allowed bool, rule string) {
	t.Helper()
	if d := p.Decide(in); d.Allowed != allowed || d.Rule != rule {
		t.Errorf("%s %s: allowed %v by %s, want %v by %s; trace %+v", in.Message.Type, in.Message.Body, d.Allowed, d.Rule, allowed, rule, d.Trace)
	}
}

// selector is the first four bytes of the hash of a function's signature.
func selector(signature string) string {
	return "0x" + hex.EncodeToString(crypto.Keccak256([]byte(signature))[:4])
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestShippedAllowsTheOwner(t *testing.T) {
	p := shipped(t)
	expect(t, p, transfer("native"), true, "transfer-by-owner")
	expect(t, p, transfer("erc20:"+token), true, "transfer-by-owner")
	expect(t, p, call(selector("transfer(address,uint256)")+padded+limit), true, "call-by-owner")
	note := request("note.v1", `{"text":"hello"}`)
	note.Wallet = nil
	expect(t, p, note, true, "note")
}

func TestShippedDeniesOthers(t *testing.T) {
	p := shipped(t)
	stranger := transfer("native")
	stranger.Wallet.Owner = "cli_other"
	expect(t, p, stranger, false, policy.DefaultDeny)

	impostor := transfer("native")
	impostor.Client.ID = "cli_other"
	expect(t, p, impostor, false, "foreign-client")

	homeless := transfer("native")
	homeless.Wallet = nil
	expect(t, p, homeless, false, policy.DefaultDeny)

	another := transfer("native")
	another.Wallet.ID = "wal_other"
	expect(t, p, another, false, policy.DefaultDeny)

	abroad := transfer("native")
	abroad.Wallet.Chain = "eip155:1"
	expect(t, p, abroad, false, "wallet-of-another-chain")

	expect(t, p, request("mint.v1", `{}`), false, policy.DefaultDeny)
}

// The transaction at signing time has to be the one that the message asks for (A12, as far as the policy goes).
func TestShippedComparesTransactionWithMessage(t *testing.T) {
	p := shipped(t)
	data := unhex(t, "a9059cbb"+padded+limit)
	for name, c := range map[string]struct {
		in      policy.Input
		tx      policy.Transaction
		allowed bool
	}{
		"native":                {transfer("native"), policy.Transaction{To: payee, Value: big.NewInt(100)}, true},
		"native, other payee":   {transfer("native"), policy.Transaction{To: token, Value: big.NewInt(100)}, false},
		"native, other amount":  {transfer("native"), policy.Transaction{To: payee, Value: big.NewInt(101)}, false},
		"native, no amount":     {transfer("native"), policy.Transaction{To: payee}, false},
		"native with data":      {transfer("native"), policy.Transaction{To: payee, Value: big.NewInt(100), Data: []byte{1}}, false},
		"token":                 {transfer("erc20:" + token), policy.Transaction{To: token, Data: data}, true},
		"token, other contract": {transfer("erc20:" + token), policy.Transaction{To: payee, Data: data}, false},
		"token with value":      {transfer("erc20:" + token), policy.Transaction{To: token, Data: data, Value: big.NewInt(1)}, false},
		"token, other function": {transfer("erc20:" + token), policy.Transaction{To: token, Data: unhex(t, "23b872dd"+padded+limit)}, false},
		"token, other payee":    {transfer("erc20:" + token), policy.Transaction{To: token, Data: unhex(t, "a9059cbb"+limit+limit)}, false},
		"token, other amount":   {transfer("erc20:" + token), policy.Transaction{To: token, Data: unhex(t, "a9059cbb"+padded+unlim)}, false},
		"token, dirty address":  {transfer("erc20:" + token), policy.Transaction{To: token, Data: unhex(t, "a9059cbb"+"01"+padded[2:]+limit)}, false},
		"token, data too long":  {transfer("erc20:" + token), policy.Transaction{To: token, Data: append(unhex(t, "a9059cbb"+padded+limit), 0)}, false},
		"token, data cut":       {transfer("erc20:" + token), policy.Transaction{To: token, Data: data[:40]}, false},
		"call":                  {call("0xa9059cbb" + padded + limit), policy.Transaction{To: token, Data: data}, true},
		"call, other data":      {call("0xa9059cbb" + padded + unlim), policy.Transaction{To: token, Data: data}, false},
		"note with transaction": {request("note.v1", `{"text":"x"}`), policy.Transaction{To: payee}, false},
	} {
		c.in.Tx = &c.tx
		if d := p.Decide(c.in); d.Allowed != c.allowed {
			t.Errorf("%s: allowed %v by %s, want %v; trace %+v", name, d.Allowed, d.Rule, c.allowed, d.Trace)
		}
	}
}

// A11: an unknown selector is denied, in the message and in the transaction, unless a rule allows it by name.
func TestA11UnknownSelector(t *testing.T) {
	p := shipped(t)
	unknown := selector("sweep(address)") + padded
	expect(t, p, call(unknown), false, policy.DefaultDeny)
	expect(t, p, call("0x00000000"), false, policy.DefaultDeny)

	creation := call("0xa9059cbb" + padded + limit)
	creation.Tx = &policy.Transaction{Data: unhex(t, "6080")}
	expect(t, p, creation, false, "contract-creation")

	switched := call("0xa9059cbb" + padded + limit)
	switched.Tx = &policy.Transaction{To: token, Data: unhex(t, unknown)}
	expect(t, p, switched, false, policy.DefaultDeny)

	named := load(t, `
rules:
  - name: sweep
    effect: allow
    when: message.type == "call.v1" && message.body.data.startsWith("`+unknown[:10]+`")
`)
	expect(t, named, call(unknown), true, "sweep")
	expect(t, named, call("0x00000000"), false, policy.DefaultDeny)
}

// A13: what hands power over assets away is denied, whether the message or the transaction holds it, even where an allow
// rule would let every call pass.
func TestA13PowerGivenAway(t *testing.T) {
	text := `  - name: everything
    effect: allow
    when: "true"
`
	p, err := policy.Load(append(policy.Source(), text...), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for rule, calls := range map[string][]string{
		"unlimited-approval": {
			selector("approve(address,uint256)") + padded + unlim,
			selector("approve(address,uint256)") + padded + "0000000000000000000000000000000100000000000000000000000000000000",
			selector("increaseAllowance(address,uint256)") + padded + unlim,
			selector("approve(address,uint256)") + padded + "0000000000000000000000000000000000000000ffffffffffffffffffffffff", // the largest uint96
			selector("approve(address,uint256)") + padded + "00000000000000000000000000000000ffffffffffffffffffffffffffffffff", // the largest uint128
			selector("approve(address,uint256)") + padded + unlim + "00",                                                       // longer than it has to be
			selector("approve(address,uint256)"),                                                                               // cut short: cannot be evaluated
			selector("approve(address,uint256)") + padded + "ff",
		},
		"token-call-malformed": {
			selector("transfer(address,uint256)") + padded, selector("transfer(address,uint256)") + padded + limit[:62],
			selector("transfer(address,uint256)") + padded + limit + "00", selector("transfer(address,uint256)") + "01" + padded[2:] + limit,
			selector("transfer(address,uint256)") + strings.Repeat("0", 64) + limit, selector("approve(address,uint256)") + "01" + padded[2:] + limit,
		},
		"approval-for-all-or-by-permit": {
			selector("setApprovalForAll(address,bool)") + padded + limit,
			selector("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
			selector("permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)"),
			selector("approve(address,address,uint160,uint48)"),
			selector("permit(address,((address,uint160,uint48,uint48),address,uint256),bytes)"),
			selector("permit(address,((address,uint160,uint48,uint48)[],address,uint256),bytes)"),
		},
		"ownership-or-upgrade": {
			selector("transferOwnership(address)") + padded, selector("renounceOwnership()"), selector("setOwner(address)"),
			selector("grantRole(bytes32,address)"), selector("changeAdmin(address)"), selector("upgradeTo(address)") + padded,
			selector("upgradeToAndCall(address,bytes)"), selector("upgrade(address,address)"), selector("upgradeAndCall(address,address,bytes)"),
		},
	} {
		for _, data := range calls {
			expect(t, p, call(data), false, rule)
			expect(t, p, call(strings.ToUpper(data[2:10])+data[10:]), true, "everything") // not hex with 0x: never passes the schema
			hidden := call("0xd0e30db0")
			hidden.Tx = &policy.Transaction{To: token, Data: unhex(t, data)}
			expect(t, p, hidden, false, rule)
		}
	}
	expect(t, p, call(selector("approve(address,uint256)")+padded+limit), true, "call-by-owner")
	expect(t, p, call(selector("approve(address,uint256)")+padded+"0000000000000000000000000000000000000000fffffffffffffffffffffffe"), true, "call-by-owner")
}

// A rule can limit token transfers by what the transaction does, whatever message asks for it.
func TestTransferIsDecoded(t *testing.T) {
	p := load(t, `
rules:
  - name: small
    effect: allow
    when: tx.transfer.to == "`+payee+`" && dec(tx.transfer.amount) <= dec("100")
`)
	in := call("0xa9059cbb" + padded + limit)
	in.Tx = &policy.Transaction{To: token, Data: unhex(t, "a9059cbb"+padded+limit)}
	expect(t, p, in, true, "small")
	in.Tx.Data[67]++
	expect(t, p, in, false, policy.DefaultDeny)
	in.Tx.Data = nil
	expect(t, p, in, false, policy.DefaultDeny)
}

func TestDenyWinsAndOrderNamesTheRule(t *testing.T) {
	p := load(t, `
rules:
  - {name: all, effect: allow, when: "true"}
  - {name: big, effect: deny, when: 'dec(message.body.amount) > dec("50")'}
  - {name: bigger, effect: deny, when: 'dec(message.body.amount) > dec("60")'}
`)
	expect(t, p, transfer("native"), false, "big")
	d := p.Decide(transfer("native"))
	if len(d.Trace) != 1 || d.Trace[0].Outcome != policy.Held || d.Trace[0].Effect != policy.Deny {
		t.Errorf("trace %+v", d.Trace)
	}
}

func TestFailedConditionCountsAgainstTheRequest(t *testing.T) {
	failing := load(t, `
rules:
  - {name: broken-deny, effect: deny, when: message.body.absent == 1}
  - {name: all, effect: allow, when: "true"}
`)
	expect(t, failing, transfer("native"), false, "broken-deny")
	skipped := load(t, `
rules:
  - {name: broken-allow, effect: allow, when: message.body.absent == 1}
  - {name: not-a-condition, effect: allow, when: message.body.amount}
  - {name: second, effect: allow, when: now == 1800000000}
`)
	expect(t, skipped, transfer("native"), true, "second")
	d := skipped.Decide(transfer("native"))
	if len(d.Trace) != 3 || d.Trace[0].Outcome != policy.Failed || d.Trace[0].Error == "" || d.Trace[1].Outcome != policy.Failed {
		t.Errorf("trace %+v", d.Trace)
	}
	expect(t, load(t, `rules: []`), transfer("native"), false, policy.DefaultDeny)
	broken := transfer("native")
	broken.Message.Body = json.RawMessage(`{`)
	expect(t, load(t, `rules: [{name: all, effect: allow, when: "true"}]`), broken, false, policy.DefaultDeny)
}

func TestLoadRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "empty",
		"rules: 1":                  "line 1: rules must be a list",
		"rules: []\nextra: 1":       `line 2: unknown field "extra"`,
		"rules:\n  - name: a":       `line 2: a rule lacks the field "effect"`,
		"rules:\n  - text":          "line 2: a rule must have the fields",
		"rules: []\nrules: []":      `line 2: the field "rules" is there twice`,
		"rules: []\n---\nrules: []": "more than one YAML document",
		"rules: [\n":                "line 1",
		"rules:\n  - {name: A, effect: deny, when: x}":                                     "line 2: a rule's name",
		"rules:\n  - {name: default-deny, effect: deny, when: 'true'}":                     `line 2: the rule name "default-deny" is taken`,
		"rules:\n  - {name: a, effect: permit, when: x}":                                   "line 2: the effect of rule a must be allow or deny",
		"rules:\n  - {name: a, effect: deny, when: [x]}":                                   "line 2: when must be a text",
		"rules:\n  - {name: a, effect: deny, when: unknown}":                               "line 2: the condition of rule a: undeclared reference to 'unknown'",
		"rules:\n  - name: a\n    effect: deny\n    when: |\n      true\n      && unknown": "line 6: the condition of rule a: undeclared reference",
		"rules:\n  - {name: a, effect: deny, when: '0.5 > now'}":                           "line 2: the condition of rule a: a number with a fraction",
		"rules: &r\n  - {name: a, effect: deny, when: 'true'}\n  - *r":                     "line 3",
	} {
		_, err := policy.Load([]byte(text), "my.yaml")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "my.yaml: ") {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p, in := shipped(b), transfer("native")
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Decide(in); !d.Allowed {
			b.Fatal(d)
		}
	}
}

// A11: the shipped policy knows the ways in which a call makes a contract run foreign code as its own, even where a rule would
// let every call pass.
func TestA11DelegateCall(t *testing.T) {
	p, err := policy.Load(append(policy.Source(), "  - name: everything\n    effect: allow\n    when: \"true\"\n"...), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	zero := strings.Repeat("0", 64)
	safe := selector("execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)") + padded + zero + zero
	for _, data := range []string{
		selector("delegatecall(address,bytes)"), selector("execTransactionFromModule(address,uint256,bytes,uint8)"), safe + zero[1:] + "1", safe + zero[2:] + "ff",
	} {
		expect(t, p, call(data), false, "delegatecall")
	}
	expect(t, p, call(safe+zero), true, "everything") // an ordinary call of the Safe
}

// A13: the ways that other standards have for the same.
func TestA13OtherStandards(t *testing.T) {
	p := shipped(t)
	for rule, calls := range map[string][]string{
		"unlimited-approval":            {selector("increaseApproval(address,uint256)") + padded + unlim, selector("approveAndCall(address,uint256,bytes)") + padded + unlim, selector("approveAndCall(address,uint256)") + padded + unlim},
		"approval-for-all-or-by-permit": {selector("setOperator(address,bool)"), selector("authorizeOperator(address)")},
		"ownership-or-upgrade": {
			selector("diamondCut((address,uint8,bytes4[])[],address,bytes)"), selector("setImplementation(address)"), selector("transferProxyOwnership(address)"),
			selector("changeOwner(address)"), selector("setAuthority(address)"), selector("setPendingAdmin(address)"), selector("beginDefaultAdminTransfer(address)"),
			selector("addOwnerWithThreshold(address,uint256)"), selector("swapOwner(address,address,address)"), selector("enableModule(address)"),
		},
	} {
		for _, data := range calls {
			expect(t, p, call(data), false, rule)
		}
	}
}

// A12: a call that declares its function is decoded for the rules from the bytes that would be signed, and denied when they
// are another function's.
func TestA12DeclaredCallsAreDecoded(t *testing.T) {
	declare := func(data string) policy.Input {
		in := request("call.v1", `{"wallet":"`+walID+`","to":"`+token+`","value":"0","data":"`+data+`","function":"transfer(address,uint256)","args":""}`)
		in.Tx = &policy.Transaction{To: token, Data: unhex(t, data[2:])}
		return in
	}
	good := "0xa9059cbb" + padded + limit
	expect(t, shipped(t), declare(good), true, "call-by-owner")
	for _, other := range []string{good + "00", "0xa9059cbb01" + padded[2:] + limit, "0x095ea7b3" + padded + limit, "0xa9059cbb"} {
		expect(t, shipped(t), declare(other), false, "call-differs-from-its-declaration")
	}
	swapped := declare(good)
	swapped.Tx.Data = unhex(t, "095ea7b3"+padded+limit)
	expect(t, shipped(t), swapped, false, "call-differs-from-its-declaration")
	p := load(t, `
rules:
  - name: small
    effect: allow
    when: tx.call.function == "transfer(address,uint256)" && tx.call.args[0] == "`+payee+`" && dec(tx.call.args[1]) <= dec("100")
`)
	expect(t, p, declare(good), true, "small")
	expect(t, p, declare(good[:len(good)-1]+"f"), false, policy.DefaultDeny)
	undeclared := call(good)
	undeclared.Tx = &policy.Transaction{To: token, Data: unhex(t, good[2:])}
	expect(t, p, undeclared, false, policy.DefaultDeny)
	undeclared.Tx.Calls = "transfer(address,uint256)" // as an ABI says
	expect(t, p, undeclared, true, "small")
	contrary := declare(good)
	contrary.Tx.Calls = "approve(address,uint256)"
	expect(t, p, contrary, false, policy.DefaultDeny)
}

func TestRulesSeeWhatATransactionCosts(t *testing.T) {
	p := load(t, `
rules:
  - {name: dear, effect: deny, when: 'dec(tx.cost) > dec("42000") || dec(tx.total) > dec("42100")'}
  - {name: fits, effect: allow, when: 'tx.gas == "21000" && tx.fee == "2"'}
`)
	in := transfer("native")
	in.Tx = &policy.Transaction{To: payee, Value: big.NewInt(100), Gas: 21000, Fee: big.NewInt(2)}
	expect(t, p, in, true, "fits")
	in.Tx.Value = big.NewInt(101)
	expect(t, p, in, false, "dear")
	in.Tx.Value, in.Tx.Gas = big.NewInt(0), 21001
	expect(t, p, in, false, "dear")
}

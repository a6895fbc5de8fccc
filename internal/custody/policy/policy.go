// Package policy decides who may do what, with how much.
//
// A policy is a list of rules, each with a name, an effect and a condition in CEL. The answer to a request:
//
//  1. If the condition of any deny rule holds, the request is denied, whatever the allow rules say.
//  2. Otherwise, if the condition of any allow rule holds, it is allowed.
//  3. Otherwise it is denied (I23).
//
// Within 1 and 2 rules are tried in the order of the file, and the first that decides is named in the Decision. A condition
// that cannot be evaluated (a field that is not there, text where a number is wanted) counts against the request: a deny
// rule denies then, an allow rule does not allow.
//
// Conditions see:
//
//	message   id, type, client, chain, body (all its fields; addresses in EIP-55 notation, bytes in lower case)
//	client    id, name: the registered client of the message
//	wallet    id, owner, name, chain, address; null when the message names no wallet
//	tx        the transaction about to be signed, decoded; null before it is built, and for messages without one: to, value,
//	          data, selector ("0x" and 8 digits, or ""), gas, fee (the most to pay for a unit of gas), cost (gas times fee),
//	          total (cost and value), transfer and call. Numbers are decimal digits. tx.transfer has to (EIP-55) and amount
//	          when the data is an ERC-20 transfer, and is null otherwise. tx.call has function and args (a list, each as text
//	          or a list) when the message or the contract's ABI says the function and the data is its one encoding, and is null otherwise
//	calldata  a list of all call data in sight: the transaction's, and the body's field "data"
//	now       unix time in seconds
//
// Amounts are text and compare as decimals: dec(message.body.amount) <= dec("1000000"). Package expr has the language.
//
// A Decision is a pure function of its Input: no clock is read and nothing remembered. Limits over a window of time would
// need the sums in the Input; they are not here.
package policy

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/expr"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/wallet"
)

// Effect is what a rule does when its condition holds.
type Effect string

// The effects.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// DefaultDeny is what a Decision names as its rule when none decided.
const DefaultDeny = "default-deny"

// Policy is a loaded list of rules, immutable and safe for concurrent use.
type Policy struct {
	deny, allow []rule
}

type rule struct {
	name   string
	effect Effect
	when   *expr.Program
}

// Input is a request, with all that rules may ask about.
type Input struct {
	Message message.Message
	Client  clients.Client
	Wallet  *wallet.Wallet // nil when the message names none
	Tx      *Transaction   // nil when there is none, or not yet
	Now     time.Time
}

// Transaction is a chain transaction as decoded from what will be signed.
type Transaction struct {
	To    string   // empty when it creates a contract
	Value *big.Int // native coin; nil is 0
	Data  []byte
	Gas   uint64
	Fee   *big.Int // most to pay for a unit of gas; nil is 0
	Calls string   // the function that Data calls by an ABI that the operator has given; "" where there is none
}

// Decision is the answer, with the way to it.
type Decision struct {
	Allowed bool
	Rule    string // the rule that decided, or DefaultDeny
	Trace   []TraceEntry
}

// Outcome is what became of one rule.
type Outcome string

// The outcomes.
const (
	Held    Outcome = "held"
	NotHeld Outcome = "not-held"
	Failed  Outcome = "failed" // could not be evaluated
)

// TraceEntry is one rule that was tried, in order.
type TraceEntry struct {
	Rule    string  `json:"rule"`
	Effect  Effect  `json:"effect"`
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"` // why it failed
}

// Decide answers a request.
func (p *Policy) Decide(in Input) Decision {
	d := Decision{Rule: DefaultDeny}
	vars, err := variables(in)
	if err != nil {
		d.Trace = []TraceEntry{{Rule: DefaultDeny, Effect: Deny, Outcome: Failed, Error: err.Error()}}
		return d
	}
	for _, r := range p.deny {
		if d.try(r, vars) != NotHeld {
			d.Rule = r.name
			return d
		}
	}
	for _, r := range p.allow {
		if d.try(r, vars) == Held {
			d.Allowed, d.Rule = true, r.name
			return d
		}
	}
	return d
}

func (d *Decision) try(r rule, vars map[string]any) Outcome {
	entry := TraceEntry{Rule: r.name, Effect: r.effect, Outcome: NotHeld}
	holds, err := r.when.Bool(vars)
	switch {
	case err != nil:
		entry.Outcome, entry.Error = Failed, err.Error()
	case holds:
		entry.Outcome = Held
	}
	d.Trace = append(d.Trace, entry)
	return entry.Outcome
}

// names are the variables of conditions.
func names() []string { return []string{"message", "client", "wallet", "tx", "calldata", "now"} }

func variables(in Input) (map[string]any, error) {
	body, err := expr.Decode(in.Message.Body)
	if err != nil {
		return nil, err
	}
	vars := map[string]any{
		"message": map[string]any{
			"id": string(in.Message.ID), "type": in.Message.Type, "client": in.Message.Client, "chain": in.Message.Chain, "body": body,
		},
		"client": map[string]any{"id": in.Client.ID, "name": in.Client.Name},
		"wallet": nil,
		"tx":     nil,
		"now":    in.Now.Unix(),
	}
	if w := in.Wallet; w != nil {
		vars["wallet"] = map[string]any{"id": w.ID, "owner": w.Owner, "name": w.Name, "chain": w.Chain, "address": w.Address}
	}
	calldata := []any{}
	if in.Tx != nil {
		tx := decoded(in.Tx, body)
		vars["tx"] = tx
		calldata = append(calldata, tx["data"])
	}
	if fields, ok := body.(map[string]any); ok {
		if data, ok := fields["data"].(string); ok && !slices.Contains(calldata, any(strings.ToLower(data))) {
			calldata = append(calldata, strings.ToLower(data))
		}
	}
	vars["calldata"] = calldata
	return vars, nil
}

// decoded is a transaction as conditions see it; body is the message's.
func decoded(tx *Transaction, body any) map[string]any {
	value, cost, fee := new(big.Int), new(big.Int), new(big.Int)
	if tx.Value != nil {
		value = tx.Value
	}
	if tx.Fee != nil {
		fee = tx.Fee
	}
	cost.Mul(fee, new(big.Int).SetUint64(tx.Gas))
	data, selector := "0x"+hex.EncodeToString(tx.Data), ""
	if len(tx.Data) >= 4 {
		selector = data[:10]
	}
	return map[string]any{
		"to": tx.To, "value": value.String(), "data": data, "selector": selector, "transfer": transfer(tx.Data), "call": called(tx, body),
		"gas": strconv.FormatUint(tx.Gas, 10), "fee": fee.String(), "cost": cost.String(), "total": new(big.Int).Add(cost, value).String(),
	}
}

// called decodes data by the function that the contract's ABI or the message says (A12); nil where neither does, they differ, or it
// calls another.
func called(tx *Transaction, body any) any {
	fields, _ := body.(map[string]any)
	signature, _ := fields["function"].(string)
	if signature == "" {
		signature = tx.Calls
	}
	if signature == "" || tx.Calls != "" && tx.Calls != signature {
		return nil
	}
	function, err := calldata.Parse(signature)
	if err != nil {
		return nil
	}
	raw, err := function.Decode(tx.Data)
	if err != nil {
		return nil
	}
	args, err := expr.Decode(raw)
	if err != nil {
		return nil
	}
	return map[string]any{"function": signature, "args": args}
}

// transfer decodes the data of ERC-20's transfer(address,uint256), in the one encoding that the ABI gives it; nil otherwise.
func transfer(data []byte) any {
	if len(data) != 4+32+32 || !bytes.HasPrefix(data, []byte{0xa9, 0x05, 0x9c, 0xbb, 15: 0}) {
		return nil
	}
	return map[string]any{"to": common.BytesToAddress(data[16:36]).Hex(), "amount": new(big.Int).SetBytes(data[36:]).String()}
}

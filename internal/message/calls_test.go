package message_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/schemas"
)

const paid25 = "0xa9059cbb0000000000000000000000005aaeb6053f3e94c9b9a09f33669435e7ef1beaed0000000000000000000000000000000000000000000000000000000000000019"

// called is a call.v1 with these fields.
func called(t testing.TB, fields map[string]string) message.Message {
	t.Helper()
	body := map[string]string{"wallet": "wal_01jc8z4q2rfkvs6xw0n7m3e5tb", "to": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", "data": paid25}
	maps.Copy(body, fields)
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	m := transfer()
	m.Type, m.Body = "call.v1", raw
	return m
}

const right = `["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","25"]`

// A12: what is declared beside the data, and so shown by a wallet before it signs, has to be what the data says.
func TestA12CallDataIsWhatIsDeclared(t *testing.T) {
	c := catalog(t)
	for name, fields := range map[string]map[string]string{
		"nothing declared": {}, "the function": {"function": "transfer(address,uint256)"}, "function and arguments": {"function": "transfer(address,uint256)", "args": right},
		"upper case data": {"function": "transfer(address,uint256)", "data": "0x" + strings.ToUpper(paid25[2:])},
	} {
		v, err := c.Verify(submit(t, c, called(t, fields), message.EIP712), domainOf)
		if err != nil || !strings.Contains(string(v.Body), `"data":"`+paid25+`"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	transferred := func(fields map[string]string) map[string]string {
		fields["function"] = "transfer(address,uint256)"
		return fields
	}
	for about, fields := range map[string]map[string]string{
		"does not say of what":           {"args": right},
		"begins with another selector":   {"function": "approve(address,uint256)"},
		"does not decode as arguments":   transferred(map[string]string{"data": paid25[:len(paid25)-2]}),
		"not the one encoding":           transferred(map[string]string{"data": paid25 + "00"}),
		"not the encoding of":            transferred(map[string]string{"args": strings.Replace(right, "25", "26", 1)}),
		"wrong EIP-55 checksum":          transferred(map[string]string{"args": strings.Replace(right, "0x5aA", "0x5aa", 1)}),
		"out of the type's range":        transferred(map[string]string{"args": strings.Replace(right, "25", "115792089237316195423570985008687907853269984665640564039457584007913129639936", 1)}),
		"must be a whole number":         transferred(map[string]string{"args": strings.Replace(right, "25", "2.5", 1)}),
		"takes 2 arguments":              transferred(map[string]string{"args": "[]"}),
		"must be a JSON list":            transferred(map[string]string{"args": "SECRET"}),
		"no function's signature":        {"function": "SECRET"},
		"no type that the ABI knows":     {"function": "transfer(address,uint)"},
		"arrays of fixed size have 1 to": {"function": "f(uint256[4294967296])"},
	} {
		typed := edit(t, submit(t, c, called(t, nil), message.EIP712), func(doc map[string]any) {
			for field, value := range fields {
				at(doc, "payload", "message")[field] = value
			}
		})
		_, err := c.Verify(typed, domainOf)
		refused(t, err, problem.Invalid, "calldata-mismatch", about)
		if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("the refusal repeats the value: %v", err)
		}
	}
}

// A client has no say in nonce, gas or fees: there are no such fields, in the body or beside it.
func TestNoncesAreNotTheClients(t *testing.T) {
	c := catalog(t)
	for _, field := range []string{"nonce", "gas", "gasPrice", "maxFeePerGas", "accessList", "authorizationList", "blobVersionedHashes", "from"} {
		body := edit(t, submit(t, c, called(t, nil), message.EIP191), func(doc map[string]any) { at(doc, "payload", "body")[field] = "1" })
		_, err := c.Verify(body, domainOf)
		refused(t, err, problem.Invalid, "message-invalid", `unknown field "`+field+`"`)
		beside := edit(t, submit(t, c, called(t, nil), message.EIP191), func(doc map[string]any) { at(doc, "payload")[field] = "1" })
		_, err = c.Verify(beside, domainOf)
		refused(t, err, problem.Invalid, "submission-malformed", `unknown field "`+field+`"`)
		typed := edit(t, submit(t, c, called(t, nil), message.EIP712), func(doc map[string]any) { at(doc, "payload", "message")[field] = "1" })
		if _, err = c.Verify(typed, domainOf); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s in the typed data: %v", field, err)
		}
	}
}

func TestADeclarationNamesFieldsThatAreThere(t *testing.T) {
	raw, err := schemas.FS().Open("call.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	source := make([]byte, 1<<20)
	n, err := raw.Read(source)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(source[:n]), `"data": "data"`, `"data": "wallet"`, 1)
	_, err = message.NewCatalog(fstest.MapFS{"call.v1.json": {Data: []byte(broken)}})
	if err == nil || !strings.Contains(err.Error(), `x-calldata: there is no field "wallet" of type bytes`) {
		t.Errorf("got %v", err)
	}
}

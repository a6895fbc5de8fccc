package message_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// edit changes a JSON document.
func edit(t testing.TB, original []byte, change func(doc map[string]any)) []byte {
	t.Helper()
	reader := json.NewDecoder(bytes.NewReader(original))
	reader.UseNumber()
	var doc map[string]any
	if err := reader.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	change(doc)
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// at walks into a document: at(doc, "payload", "domain").
func at(doc map[string]any, path ...string) map[string]any {
	for _, name := range path {
		doc = doc[name].(map[string]any)
	}
	return doc
}

// resigned is a valid submission with its signature rewritten.
func resigned(t testing.TB, original []byte, change func(sig []byte) []byte) []byte {
	t.Helper()
	return edit(t, original, func(doc map[string]any) {
		sig, err := hex.DecodeString(doc["signature"].(string)[2:])
		if err != nil {
			t.Fatal(err)
		}
		doc["signature"] = "0x" + hex.EncodeToString(change(sig))
	})
}

func curveOrder() *big.Int { return crypto.S256().Params().N }

func TestA3SignatureHasOneForm(t *testing.T) {
	c := catalog(t)
	original := submit(t, c, transfer(), message.EIP712)
	for name, form := range map[string]struct {
		change func(sig []byte) []byte
		about  string
	}{
		"high s, the twin": {func(sig []byte) []byte {
			s := new(big.Int).Sub(curveOrder(), new(big.Int).SetBytes(sig[32:64]))
			s.FillBytes(sig[32:64])
			sig[64] = 27 + 28 - sig[64]
			return sig
		}, "upper half"},
		"v of 0 or 1":  {func(sig []byte) []byte { sig[64] -= 27; return sig }, "neither 27 nor 28"},
		"v of EIP-155": {func(sig []byte) []byte { sig[64] += 10; return sig }, "neither 27 nor 28"},
		"v of 29":      {func(sig []byte) []byte { sig[64] = 29; return sig }, "neither 27 nor 28"},
		"compact form of EIP-2098": {func(sig []byte) []byte {
			if sig[64] == 28 {
				sig[32] |= 0x80
			}
			return sig[:64]
		}, "EIP-2098"},
		"one byte more": {func(sig []byte) []byte { return append(sig, 0) }, "65 bytes"},
		"empty":         {func([]byte) []byte { return nil }, "65 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Verify(resigned(t, original, form.change), domainOf)
			refused(t, err, problem.Invalid, "signature-malformed", form.about)
		})
	}
	for _, text := range []any{"", "0x", "0xzz", strings.Repeat("ab", 65), "0X" + strings.Repeat("ab", 65)} {
		_, err := c.Verify(edit(t, original, func(doc map[string]any) { doc["signature"] = text }), domainOf)
		refused(t, err, problem.Invalid, "signature-malformed", "the signature")
	}
}

func TestA4WrongDomain(t *testing.T) {
	c := catalog(t)
	original := submit(t, c, transfer(), message.EIP712)
	for _, d := range []struct {
		field string
		value any
	}{
		{"chainId", 1}, {"chainId", "1"}, {"chainId", "0x1"}, {"chainId", nil}, {"chainId", -1337}, {"chainId", "01337"}, {"chainId", []any{}},
		{"verifyingContract", payee}, {"verifyingContract", ""}, {"verifyingContract", 5},
		{"version", "2"}, {"version", ""}, {"version", 1}, {"name", "Eval"}, {"name", nil},
	} {
		changed := edit(t, original, func(doc map[string]any) { at(doc, "payload", "domain")[d.field] = d.value })
		_, err := c.Verify(changed, domainOf)
		refused(t, err, problem.Invalid, "typed-data-mismatch", "domain."+d.field)
	}
	salted := edit(t, original, func(doc map[string]any) { at(doc, "payload", "domain")["salt"] = "0x00" })
	_, err := c.Verify(salted, domainOf)
	refused(t, err, problem.Invalid, "typed-data-mismatch", `domain has the unknown field "salt"`)
	bare := edit(t, original, func(doc map[string]any) { delete(at(doc, "payload", "domain"), "verifyingContract") })
	_, err = c.Verify(bare, domainOf)
	refused(t, err, problem.Invalid, "typed-data-mismatch", `domain lacks the field "verifyingContract"`)

	// Wallets' libraries write the chain id in several ways; all of them mean the same digest.
	for _, id := range []any{"1337", "0x539"} {
		same := edit(t, original, func(doc map[string]any) { at(doc, "payload", "domain")["chainId"] = id })
		if _, err := c.Verify(same, domainOf); err != nil {
			t.Errorf("chainId as %v: %v", id, err)
		}
	}
}

// A signature made for another domain than the document says is somebody else's.
func TestA4SignedForAnotherDomain(t *testing.T) {
	c := catalog(t)
	sign, signer := key(t)
	other := domain()
	other.Version = "2"
	_, digest, err := c.TypedData(transfer(), other)
	if err != nil {
		t.Fatal(err)
	}
	original, err := c.Submission(transfer(), message.EIP712, domain(), func(common.Hash) ([]byte, error) { return sign(digest) })
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Verify(original, domainOf); err == nil && v.Signer == signer {
		t.Error("the signature counts for a domain that it was not made for")
	}
}

func TestA4ChainOfTheMessage(t *testing.T) {
	c := catalog(t)
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		path := []string{"payload"}
		if scheme == message.EIP712 {
			path = append(path, "message")
		}
		foreign := edit(t, submit(t, c, transfer(), scheme), func(doc map[string]any) { at(doc, path...)["chain"] = "eip155:1" })
		_, err := c.Verify(foreign, domainOf)
		refused(t, err, problem.Invalid, "chain-mismatch", "chain")
		for _, chain := range []string{"", "1337", "eip155:", "eip155:01337", "EIP155:1337", "eip155:1337:1"} {
			bad := edit(t, submit(t, c, transfer(), scheme), func(doc map[string]any) { at(doc, path...)["chain"] = chain })
			if _, err := c.Verify(bad, domainOf); problem.KindOf(err) != problem.Invalid {
				t.Errorf("%s: the chain %q: %v", scheme, chain, err)
			}
		}
	}
	unknown := problem.New(problem.Invalid, "chain-unknown", "no such chain")
	_, err := c.Verify(submit(t, c, transfer(), message.EIP712), func(string) (message.Domain, error) { return message.Domain{}, unknown })
	refused(t, err, problem.Invalid, "chain-unknown", "no such chain")
}

func TestA4OtherTypes(t *testing.T) {
	c := catalog(t)
	original := submit(t, c, transfer(), message.EIP712)
	for about, change := range map[string]func(payload map[string]any){
		"types.Transfer": func(p map[string]any) {
			types := p["types"].(map[string]any)
			types["Transfer"] = types["Transfer"].([]any)[1:]
		},
		"types.EIP712Domain":                    func(p map[string]any) { at(p, "types")["EIP712Domain"] = []any{} },
		`types has the unknown field "Other"`:   func(p map[string]any) { at(p, "types")["Other"] = []any{} },
		`types lacks the field "EIP712Domain"`:  func(p map[string]any) { p["types"] = nil },
		"primaryType":                           func(p map[string]any) { p["primaryType"] = "EIP712Domain" },
		`message lacks the field "memo"`:        func(p map[string]any) { delete(at(p, "message"), "memo") },
		`message has the unknown field "nonce"`: func(p map[string]any) { at(p, "message")["nonce"] = "1" },
	} {
		_, err := c.Verify(edit(t, original, func(doc map[string]any) { change(at(doc, "payload")) }), domainOf)
		refused(t, err, problem.Invalid, "typed-data-mismatch", about)
	}
}

func TestA5OneSchemeOfferedAsTheOther(t *testing.T) {
	c := catalog(t)
	typed, plain := submit(t, c, transfer(), message.EIP712), submit(t, c, transfer(), message.EIP191)
	for _, o := range []struct {
		original []byte
		scheme   message.Scheme
	}{{typed, message.EIP191}, {plain, message.EIP712}} {
		swapped := edit(t, o.original, func(doc map[string]any) { doc["scheme"] = string(o.scheme) })
		_, err := c.Verify(swapped, domainOf)
		refused(t, err, problem.Invalid, "scheme-mismatch", "payload")
	}
	var signature string
	edit(t, plain, func(doc map[string]any) { signature = doc["signature"].(string) })
	_, signer := key(t)
	crossed := edit(t, typed, func(doc map[string]any) { doc["signature"] = signature })
	if v, err := c.Verify(crossed, domainOf); err == nil && v.Signer == signer {
		t.Error("a signature of the EIP-191 text counts for the typed data")
	}
	for _, scheme := range []any{"", "EIP712", "eth_sign", nil, 712} {
		_, err := c.Verify(edit(t, typed, func(doc map[string]any) { doc["scheme"] = scheme }), domainOf)
		refused(t, err, problem.Invalid, "scheme-unknown", "scheme")
	}
}

// The recovered zero address of A6 has no known key or signature to test with; recover refuses it all the same.
func TestA6ScalarsOutOfRange(t *testing.T) {
	c := catalog(t)
	original := submit(t, c, transfer(), message.EIP712)
	n := curveOrder()
	above, top := new(big.Int).Add(n, big.NewInt(1)), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	for _, value := range []*big.Int{new(big.Int), n, above, top} {
		for i, scalar := range []string{"r", "s"} {
			_, err := c.Verify(resigned(t, original, func(sig []byte) []byte { value.FillBytes(sig[32*i : 32*i+32]); return sig }), domainOf)
			refused(t, err, problem.Invalid, "signature-malformed", fmt.Sprintf("an %s that is zero or not below", scalar))
		}
	}
	offCurve := resigned(t, original, func(sig []byte) []byte { big.NewInt(5).FillBytes(sig[:32]); return sig }) // 5 is no x of the curve
	_, err := c.Verify(offCurve, domainOf)
	refused(t, err, problem.Invalid, "signature-malformed", "no signature of any key")
}

// A24: an amount that no asset has is impossible, not malformed.
func TestA24AbsurdAmount(t *testing.T) {
	c := catalog(t)
	for amount, kind := range map[string]problem.Kind{
		"340282366920938463463374607431768211455":                                        problem.Internal, // 2^128-1: fine
		"340282366920938463463374607431768211456":                                        problem.Unprocessable,
		"115792089237316195423570985008687907853269984665640564039457584007913129639935": problem.Unprocessable,
		"115792089237316195423570985008687907853269984665640564039457584007913129639936": problem.Invalid,
		"0": problem.Invalid, "-1": problem.Invalid, "01": problem.Invalid, "1.5": problem.Invalid, "1e3": problem.Invalid, "0x10": problem.Invalid, "": problem.Invalid, " 1": problem.Invalid, "١": problem.Invalid,
	} {
		m := transfer()
		m.Body = edit(t, m.Body, func(body map[string]any) { body["amount"] = amount })
		_, _, err := c.TypedData(m, domain())
		if (err == nil) != (kind == problem.Internal) || err != nil && problem.KindOf(err) != kind {
			t.Errorf("amount %q: %v, want %v", amount, err, kind)
		}
	}
}

func TestBodyRefused(t *testing.T) {
	c := catalog(t)
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		path := []string{"payload", "message"}
		if scheme == message.EIP191 {
			path = []string{"payload", "body"}
		}
		original := submit(t, c, transfer(), scheme)
		for _, f := range []struct {
			field string
			value any
			about string
		}{
			{"to", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "body.to has a wrong EIP-55 checksum"},
			{"to", "0x0000000000000000000000000000000000000000", "body.to must not be the zero address"},
			{"to", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "body.to must be an address"},
			{"to", "0xSECRET", "body.to must be an address"},
			{"asset", "SECRET", `body.asset must be "native" or "erc20:"`},
			{"asset", "erc20:0x0000000000000000000000000000000000000000", "body.asset must not be the zero address"},
			{"wallet", "SECRET", "body.wallet must match"},
			{"memo", strings.Repeat("SECRET", 50), "body.memo must have 256 characters or fewer (maxLength)"},
			{"amount", 4242424242, "body.amount must be a string"},
			{"amount", "SECRET", "body.amount must be a decimal number"},
		} {
			_, err := c.Verify(edit(t, original, func(doc map[string]any) { at(doc, path...)[f.field] = f.value }), domainOf)
			refused(t, err, problem.Invalid, "message-invalid", f.about)
			if text := err.Error(); strings.Contains(text, "SECRET") || strings.Contains(text, "4242") {
				t.Errorf("the refusal repeats the value: %s", text)
			}
		}
	}
	extra := edit(t, submit(t, c, transfer(), message.EIP191), func(doc map[string]any) { at(doc, "payload", "body")["fee"] = "SECRET" })
	_, err := c.Verify(extra, domainOf)
	refused(t, err, problem.Invalid, "message-invalid", `body has the unknown field "fee"`)
	missing := edit(t, submit(t, c, transfer(), message.EIP191), func(doc map[string]any) { delete(at(doc, "payload", "body"), "to") })
	_, err = c.Verify(missing, domainOf)
	refused(t, err, problem.Invalid, "message-invalid", `body lacks "to"`)
}

func TestEnvelopeRefused(t *testing.T) {
	c := catalog(t)
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		path := []string{"payload"}
		if scheme == message.EIP712 {
			path = append(path, "message")
		}
		original := submit(t, c, transfer(), scheme)
		for field, values := range map[string][]any{
			"id":      {"", "msg_1", "cli_01jc8z4q2rfkvs6xw0n7m3e5tb", nil, 5},
			"type":    {"", "transfer", "transfer.v2", "../transfer.v1", nil},
			"client":  {"", strings.Repeat("a", 129), "a b", "a\nb", nil},
			"expires": {0, -1, "", "x", 253402300800, nil, true, "1.5"},
		} {
			for _, value := range values {
				_, err := c.Verify(edit(t, original, func(doc map[string]any) { at(doc, path...)[field] = value }), domainOf)
				if problem.KindOf(err) != problem.Invalid {
					t.Errorf("%s: %s of %v: %v", scheme, field, value, err)
				}
			}
			_, err := c.Verify(edit(t, original, func(doc map[string]any) { delete(at(doc, path...), field) }), domainOf)
			refused(t, err, problem.Invalid, "submission-malformed", field+" is missing")
		}
	}
}

func TestSubmissionIsStrictJSON(t *testing.T) {
	c := catalog(t)
	good := string(submit(t, c, transfer(), message.EIP191))
	memo := func(text string) string { return strings.Replace(good, `"memo":""`, `"memo":`+text, 1) }
	for about, text := range map[string]string{
		"the key \"scheme\" is there twice": strings.Replace(good, `"scheme":"eip191"`, `"scheme":"eip712","scheme":"eip191"`, 1),
		"the key \"amount\" is there twice": strings.Replace(good, `"amount":"25"`, `"amount":"1","am\u006funt":"25"`, 1),
		"has the unknown field \"more\"":    strings.Replace(good, `{`, `{"more":1,`, 1),
		"payload has the unknown field":     strings.Replace(good, `"body":`, `"Body":{},"body":`, 1),
		"lacks the field \"signature\"":     `{"scheme":"eip191","payload":{}}`,
		"something follows":                 good + "{}",
		"larger than 65536 bytes":           good + strings.Repeat(" ", 65536),
		"nested deeper than 16":             memo(strings.Repeat("[", 20) + strings.Repeat("]", 20)),
		"beyond 2^53":                       memo("9007199254740993"),
		"must be integers":                  memo("1.0"),
		"not UTF-8":                         memo("\"\xff\""),
		"half of a surrogate pair":          memo(`"\ud800"`),
		"bare control character":            memo("\"a\nb\""),
		"unknown escape":                    memo(`"\x41"`),
		"a number is malformed":             memo(`01`),
		"a value is missing":                memo(`nul`),
		"must be an object":                 `[]`,
		"payload must be an object":         `{"scheme":"eip191","payload":"x","signature":"0x"}`,
		"signature must be a string":        `{"scheme":"eip191","payload":{},"signature":5}`,
		"a key in double quotes":            `{scheme:"eip191"}`,
		"a comma or the end of the object":  `{"scheme":"eip191" "payload":{}}`,
		"has no end":                        `{"scheme`,
	} {
		_, err := c.Verify([]byte(text), domainOf)
		refused(t, err, problem.Invalid, "submission-malformed", about)
	}
	if _, err := c.Verify([]byte(" "+strings.ReplaceAll(good, ",", " ,\n\t")+"\r\n"), domainOf); err != nil {
		t.Errorf("white space outside of the payload's values: %v", err)
	}
}

package message_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"testing/fstest"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// everyType is a message type with a field of each kind.
const everyType = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
	"x-eip712": {"name": "Everything", "fields": [
		{"name": "a", "type": "string"}, {"name": "b", "type": "address"}, {"name": "c", "type": "uint256"}, {"name": "d", "type": "uint8"},
		{"name": "e", "type": "bytes"}, {"name": "f", "type": "bytes4"}, {"name": "g", "type": "bytes32"}, {"name": "h", "type": "bool"},
		{"name": "i", "type": "string"}, {"name": "j", "type": "uint64"}, {"name": "k", "type": "bytes"}, {"name": "l", "type": "bool"}]},
	"required": ["a", "b", "c", "d", "e", "f", "g", "h"],
	"properties": {
		"a": {"type": "string"}, "b": {"type": "string", "format": "evm-address"}, "c": {"type": "string", "format": "uint256"},
		"d": {"type": "string", "format": "uint256"}, "e": {"type": "string", "format": "hex-bytes"}, "f": {"type": "string", "format": "evm-selector"},
		"g": {"type": "string", "format": "hex-bytes"}, "h": {"type": "boolean"}, "i": {"type": "string", "default": ""},
		"j": {"type": "string", "format": "uint256", "default": "0"}, "k": {"type": "string", "format": "hex-bytes", "default": "0x"},
		"l": {"type": "boolean", "default": false}}}`

func everything(t testing.TB) *message.Catalog {
	t.Helper()
	c, err := message.NewCatalog(fstest.MapFS{"everything.v1.json": {Data: []byte(everyType)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawHex(t *rapid.T, label string, least, most int) string {
	return "0x" + hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, label))
}

func drawUint(t *rapid.T, label string, bits int) string {
	return new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, bits/8).Draw(t, label)).String()
}

func drawBody(t *rapid.T) map[string]any {
	body := map[string]any{
		"a": rapid.String().Draw(t, "a"),
		"b": common.BytesToAddress(append(rapid.SliceOfN(rapid.Byte(), 19, 19).Draw(t, "b"), 1)).Hex(),
		"c": drawUint(t, "c", 256), "d": drawUint(t, "d", 8), "e": drawHex(t, "e", 0, 80), "f": drawHex(t, "f", 4, 4), "g": drawHex(t, "g", 32, 32),
		"h": rapid.Bool().Draw(t, "h"),
	}
	if rapid.Bool().Draw(t, "whole") {
		body["i"], body["j"], body["k"], body["l"] = rapid.String().Draw(t, "i"), drawUint(t, "j", 64), drawHex(t, "k", 0, 40), true
	}
	return body
}

// go-ethereum's apitypes is what wallets are held against: our own encoding has to give the same digest.
func TestDigestIsThatOfApitypes(t *testing.T) {
	c := everything(t)
	rapid.Check(t, func(t *rapid.T) {
		m, d := transfer(), domain()
		d.Name, d.ChainID = rapid.StringN(1, 40, -1).Draw(t, "name"), uint64(rapid.Int64Range(1, 1<<53).Draw(t, "chain"))
		m.Type, m.Chain = "everything.v1", fmt.Sprintf("eip155:%d", d.ChainID)
		raw, err := json.Marshal(drawBody(t))
		if err != nil {
			t.Fatal(err)
		}
		m.Body = raw
		doc, digest, err := c.TypedData(m, d)
		if err != nil {
			t.Fatal(err)
		}
		var typed apitypes.TypedData
		if err := json.Unmarshal(doc, &typed); err != nil {
			t.Fatal(err)
		}
		want, _, err := apitypes.TypedDataAndHash(typed)
		if err != nil {
			t.Fatal(err)
		}
		if digest != common.BytesToHash(want) {
			t.Fatalf("digest %s, apitypes has %x for %s", digest, want, doc)
		}
	})
}

// Whatever of a signed document is changed, the signer is another one, or the document is refused.
func TestEverythingIsSigned(t *testing.T) {
	c := everything(t)
	sign, signer := key(t)
	rapid.Check(t, func(t *rapid.T) {
		m := transfer()
		m.Type = "everything.v1"
		before, after := drawBody(t), drawBody(t)
		scheme := rapid.SampledFrom([]message.Scheme{message.EIP712, message.EIP191}).Draw(t, "scheme")
		build := func(body map[string]any, sign message.Signer) []byte {
			raw, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			m.Body = raw
			original, err := c.Submission(m, scheme, domain(), sign)
			if err != nil {
				t.Fatal(err)
			}
			return original
		}
		var signature []byte
		first := build(before, func(digest common.Hash) (_ []byte, err error) { signature, err = sign(digest); return signature, err })
		second := build(after, func(common.Hash) ([]byte, error) { return signature, nil })
		v, err := c.Verify(first, domainOf)
		if err != nil || v.Signer != signer {
			t.Fatalf("signer %s, %v", v.Signer, err)
		}
		w, err := c.Verify(second, domainOf)
		if same := string(v.Body) == string(w.Body); err == nil && (w.Signer == signer) != same {
			t.Fatalf("the signature of %s counts for %s", v.Body, w.Body)
		}
	})
}

// A body comes out complete and in one notation, so that rules comparing text cannot be passed by another spelling.
func TestBodyIsNormalized(t *testing.T) {
	c := everything(t)
	m := transfer()
	m.Type = "everything.v1"
	m.Body = json.RawMessage(`{"a":"A","b":"0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed","c":"1","d":"2","e":"0xABcd","f":"0xA9059CBB","g":"0x` +
		`00000000000000000000000000000000000000000000000000000000000000FF","h":true}`)
	v, err := c.Verify(submit(t, c, m, message.EIP712), domainOf)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":"A","b":"` + payee + `","c":"1","d":"2","e":"0xabcd","f":"0xa9059cbb","g":"0x` +
		`00000000000000000000000000000000000000000000000000000000000000ff","h":true,"i":"","j":"0","k":"0x","l":false}`
	if string(v.Body) != want {
		t.Errorf("got  %s\nwant %s", v.Body, want)
	}
	shouted := edit(t, submit(t, c, m, message.EIP712), func(doc map[string]any) {
		at(doc, "payload", "message")["e"], at(doc, "payload", "message")["b"] = "0xABCD", "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED"
	})
	w, err := c.Verify(shouted, domainOf)
	if err != nil || w.Digest != v.Digest || string(w.Body) != want {
		t.Errorf("another spelling of the same bytes: %v, digest %s, body %s", err, w.Digest, w.Body)
	}
}

func TestFieldOutOfItsType(t *testing.T) {
	c := everything(t)
	for field, value := range map[string]any{"d": "256", "f": "0xabcdef", "g": "0x00", "j": "18446744073709551616", "e": "0xabc"} {
		m := transfer()
		m.Type = "everything.v1"
		body := map[string]any{"a": "", "b": payee, "c": "0", "d": "0", "e": "0x", "f": "0x00000000", "g": "0x" + hex.EncodeToString(make([]byte, 32)), "h": false}
		body[field] = value
		var err error
		if m.Body, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
		_, _, err = c.TypedData(m, domain())
		refused(t, err, problem.Invalid, "message-invalid", "body."+field)
		_, _, err = c.Canonical(m)
		refused(t, err, problem.Invalid, "message-invalid", "body."+field)
	}
}

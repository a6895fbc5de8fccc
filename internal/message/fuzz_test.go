package message_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// FuzzVerify: any bytes give a Verified message or a typed refusal, and what is accepted can be accepted again, is JSON to
// other readers too, and signs to the same digest when it is rebuilt.
func FuzzVerify(f *testing.F) {
	c := catalog(f)
	note := transfer()
	note.Type, note.Body = "note.v1", json.RawMessage(`{"text":"\u20ac <&> \ud83d\ude00","amount":"7"}`)
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		f.Add(submit(f, c, transfer(), scheme))
		f.Add(submit(f, c, note, scheme))
	}
	for _, text := range []string{``, `{}`, `[[[[`, `{"scheme":"eip191","payload":{},"signature":"0x"}`, `{"a":1,"a":2}`, `"\ud800"`, `{"a":"` + "\xff" + `"}`, `9007199254740993`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, original []byte) {
		v, err := c.Verify(original, domainOf)
		if err != nil {
			if kind := problem.KindOf(err); kind != problem.Invalid && kind != problem.Unprocessable {
				t.Fatalf("%v: %v", kind, err)
			}
			return
		}
		if !bytes.Equal(v.Original, original) || !json.Valid(original) {
			t.Fatal("the original is not what was sent, or no JSON")
		}
		if again, err := jcs.Transform(v.Body); err != nil || !bytes.Equal(again, v.Body) {
			t.Fatalf("the body %s is not canonical: %v", v.Body, err)
		}
		if v.Scheme != message.EIP712 {
			return
		}
		// EIP-712 signs bytes, not their spelling; only text that a format normalizes may differ.
		if _, digest, err := c.TypedData(v.Message, domain()); err != nil || (digest != v.Digest && v.Type == "note.v1") {
			t.Fatalf("rebuilt, the digest is %s and not %s: %v", digest, v.Digest, err)
		}
	})
}

// FuzzParseID: an id that is accepted is spelled in one way only.
func FuzzParseID(f *testing.F) {
	f.Add(string(transfer().ID))
	f.Add("msg_8zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := message.ParseID(s)
		if err != nil {
			if problem.KindOf(err) != problem.Invalid {
				t.Fatal(err)
			}
			return
		}
		if _, err := id.UUID(); err != nil || len(s) != 30 || string(id) != s {
			t.Fatalf("%q was accepted as %q, %v", s, id, err)
		}
	})
}

// FuzzTypedData: any body is built into a document whose digest Verify arrives at as well, or is refused.
func FuzzTypedData(f *testing.F) {
	c := everything(f)
	f.Add([]byte(`{"a":"A","b":"`+payee+`","c":"1","d":"2","e":"0xABcd","f":"0xA9059CBB","g":"0x0000000000000000000000000000000000000000000000000000000000000000","h":true}`), uint64(1), int64(1))
	f.Add([]byte(`{"a":null}`), uint64(1), int64(-1))
	f.Fuzz(func(t *testing.T, body []byte, chain uint64, expires int64) {
		m, d := transfer(), domain()
		m.Type, m.Body = "everything.v1", body
		m.Expires, d.ChainID, m.Chain = time.Unix(expires, 0).UTC(), chain, fmt.Sprintf("eip155:%d", chain)
		sign, _ := key(t)
		original, err := c.Submission(m, message.EIP712, d, sign)
		if err != nil {
			if problem.KindOf(err) == problem.Internal {
				t.Fatalf("the refusal is not typed: %v", err)
			}
			return
		}
		doc, digest, err := c.TypedData(m, d)
		if err != nil || !json.Valid(doc) {
			t.Fatalf("%s, %v", doc, err)
		}
		v, err := c.Verify(original, func(string) (message.Domain, error) { return d, nil })
		if err != nil || v.Digest != digest {
			t.Fatalf("digest %s, verified %s, %v", digest, v.Digest, err)
		}
	})
}

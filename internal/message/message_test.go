package message_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/schemas"
)

const (
	walletID = "wal_01jc8z4q2rfkvs6xw0n7m3e5tb"
	payee    = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
)

func catalog(t testing.TB) *message.Catalog {
	t.Helper()
	c, err := message.NewCatalog(schemas.FS())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func domain() message.Domain {
	return message.Domain{Name: "Aval", Version: "1", ChainID: 1337, VerifyingContract: common.HexToAddress("0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359")}
}

func domainOf(string) (message.Domain, error) { return domain(), nil }

// key is the private key of the EIP-712 specification's example: keccak256("cow").
func key(t testing.TB) (message.Signer, common.Address) {
	t.Helper()
	k, err := crypto.ToECDSA(crypto.Keccak256([]byte("cow")))
	if err != nil {
		t.Fatal(err)
	}
	return func(digest common.Hash) ([]byte, error) { return crypto.Sign(digest[:], k) }, crypto.PubkeyToAddress(k.PublicKey)
}

func transfer() message.Message {
	return message.Message{
		ID: "msg_01jc8z4q2rfkvs6xw0n7m3e5tb", Type: "transfer.v1", Client: "cli_01jc8z4q2rfkvs6xw0n7m3e5tb",
		Chain: "eip155:1337", Expires: time.Unix(1800000000, 0).UTC(),
		Body: json.RawMessage(`{"amount":"25","asset":"native","memo":"","to":"` + payee + `","wallet":"` + walletID + `"}`),
	}
}

func submit(t testing.TB, c *message.Catalog, m message.Message, scheme message.Scheme) []byte {
	t.Helper()
	sign, _ := key(t)
	original, err := c.Submission(m, scheme, domain(), sign)
	if err != nil {
		t.Fatal(err)
	}
	return original
}

// refused checks kind, code and that the detail speaks of what is wrong.
func refused(t *testing.T, err error, kind problem.Kind, code, about string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) {
		t.Fatalf("want a problem %s, got %v", code, err)
	}
	if p.Kind != kind || p.Code != code || !strings.Contains(p.Detail, about) {
		t.Fatalf("want %v %s about %q, got %v %s: %s", kind, code, about, p.Kind, p.Code, p.Detail)
	}
}

func TestSubmissionIsVerified(t *testing.T) {
	c := catalog(t)
	_, signer := key(t)
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		original := submit(t, c, transfer(), scheme)
		v, err := c.Verify(original, domainOf)
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if v.Signer != signer || v.Scheme != scheme || string(v.Original) != string(original) {
			t.Errorf("%s: signer %s, scheme %s, original %s", scheme, v.Signer, v.Scheme, v.Original)
		}
		want := transfer()
		if v.ID != want.ID || v.Type != want.Type || v.Client != want.Client || v.Chain != want.Chain || !v.Expires.Equal(want.Expires) || string(v.Body) != string(want.Body) {
			t.Errorf("%s: got %+v with body %s, want %+v with body %s", scheme, v.Message, v.Body, want, want.Body)
		}
	}
}

func TestAnyMessageComesBack(t *testing.T) {
	c := catalog(t)
	sign, signer := key(t)
	rapid.Check(t, func(t *rapid.T) {
		body := map[string]any{
			"text":      rapid.StringN(1, 300, 2000).Draw(t, "text"),
			"reference": rapid.StringN(0, 100, 140).Draw(t, "reference"),
			"amount":    "0",
		}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		m := transfer()
		m.ID, m.Type, m.Body = message.NewID(), "note.v1", raw
		m.Expires = time.Unix(rapid.Int64Range(1, 253402300799).Draw(t, "expires"), 0).UTC()
		scheme := rapid.SampledFrom([]message.Scheme{message.EIP712, message.EIP191}).Draw(t, "scheme")
		original, err := c.Submission(m, scheme, domain(), sign)
		if err != nil {
			t.Fatal(err)
		}
		v, err := c.Verify(original, domainOf)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(v.Body, &got); err != nil {
			t.Fatal(err)
		}
		if v.ID != m.ID || !v.Expires.Equal(m.Expires) || v.Signer != signer || got["text"] != body["text"] || got["reference"] != body["reference"] {
			t.Fatalf("%+v came back as %+v", m, v)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	c := catalog(b)
	m := transfer()
	m.Type = "note.v1"
	m.Body = json.RawMessage(`{"text":"` + strings.Repeat("a statement ", 85) + `"}`)
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		original := submit(b, c, m, scheme)
		b.Run(string(scheme), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Verify(original, domainOf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("recovery", func(b *testing.B) {
		sign, _ := key(b)
		digest := crypto.Keccak256Hash([]byte("anything"))
		sig, err := sign(digest)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := crypto.Ecrecover(digest[:], sig); err != nil {
				b.Fatal(err)
			}
		}
	})
}

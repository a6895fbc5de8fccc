package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/message"
)

// edit changes a submission.
func edit(t *testing.T, signed []byte, change func(doc map[string]any)) []byte {
	t.Helper()
	reader := json.NewDecoder(bytes.NewReader(signed))
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

// resigned changes a submission's signature.
func resigned(t *testing.T, signed []byte, change func(sig []byte) []byte) []byte {
	t.Helper()
	return edit(t, signed, func(doc map[string]any) {
		sig, err := hex.DecodeString(doc["signature"].(string)[2:])
		if err != nil {
			t.Fatal(err)
		}
		doc["signature"] = "0x" + hex.EncodeToString(change(sig))
	})
}

// untouched checks that a refused submission has neither taken the id nor left anything: the genuine message is accepted.
func (s *scene) untouched(id string, signed []byte) {
	s.t.Helper()
	if a := s.put(s.alice, id, signed); a.Status != http.StatusCreated {
		s.t.Errorf("after the refusals the genuine message was answered with %d %s", a.Status, a.Body)
	}
	s.ends(id, client.Succeeded)
	if original, err := s.alice.Original(s.t.Context(), id); err != nil || !bytes.Equal(original, signed) {
		s.t.Errorf("the original is %q, %v, and was %q", original, err, signed)
	}
}

func TestA1SameMessageAgain(t *testing.T) {
	s := open(t, nil)
	const to = "0x00000000000000000000000000000000000A11cE"
	m, ids := s.draft(s.alice, "transfer.v1", client.Transfer{Wallet: s.wallet.ID, To: to, Asset: "native", Amount: "7"})
	signed := s.sign(s.alice, m, ids)
	created := make(chan int, 30)
	var all sync.WaitGroup
	for range cap(created) {
		all.Go(func() { created <- s.put(s.alice, m.ID, signed).Status })
	}
	all.Wait()
	close(created)
	count := map[int]int{}
	for status := range created {
		count[status]++
	}
	if count[http.StatusCreated] != 1 || count[http.StatusOK] != 29 {
		t.Errorf("30 submissions of one message were answered %v, want one 201 and the others 200", count)
	}
	before := s.ends(m.ID, client.Succeeded)
	if again, err := s.alice.Submit(t.Context(), m.ID, signed); err != nil || again.Version != before.Version || !again.Archived {
		t.Errorf("archived and submitted again: %+v, %v", again, err)
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 1 || paid[0].To().Hex() != to || paid[0].Value().Int64() != 7 {
		t.Errorf("the chain shows %d transactions", len(paid))
	}
}

func TestA2SameIDOtherBody(t *testing.T) {
	s := open(t, nil)
	m, ids := s.draft(s.alice, "note.v1", map[string]string{"text": "the first"})
	first := s.sign(s.alice, m, ids)
	m.Body = map[string]string{"text": canary}
	second := s.sign(s.alice, m, ids)
	if a := s.put(s.alice, m.ID, first); a.Status != http.StatusCreated {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	refused(t, s.put(s.alice, m.ID, second), http.StatusConflict, "message-id-reused")
	s.ends(m.ID, client.Succeeded)
	refused(t, s.put(s.alice, m.ID, second), http.StatusConflict, "message-id-reused")
	if original, err := s.alice.Original(t.Context(), m.ID); err != nil || !bytes.Equal(original, first) {
		t.Errorf("the original is %q, %v", original, err)
	}
}

func TestA3HighS(t *testing.T) {
	s := open(t, nil)
	id, signed := s.note(s.alice, canary)
	for name, change := range map[string]func(sig []byte) []byte{
		"high s": func(sig []byte) []byte {
			new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(sig[32:64])).FillBytes(sig[32:64])
			sig[64] = 27 + 28 - sig[64]
			return sig
		},
		"v of 0 or 1": func(sig []byte) []byte { sig[64] -= 27; return sig },
		"EIP-2098": func(sig []byte) []byte {
			sig[32] |= (sig[64] - 27) << 7
			return sig[:64]
		},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, s.put(s.alice, id, resigned(t, signed, change)), http.StatusBadRequest, "signature-malformed")
		})
	}
	s.untouched(id, signed)
}

func TestA4WrongDomain(t *testing.T) {
	s := open(t, nil)
	m, ids := s.draft(s.alice, "note.v1", map[string]string{"text": canary})
	signed := s.sign(s.alice, m, ids)
	shipped, err := client.ShippedTypes()
	if err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(d *client.Domain){
		"verifyingContract": func(d *client.Domain) { d.VerifyingContract = "0x00000000000000000000000000000000000A11cE" },
		"version":           func(d *client.Domain) { d.Version = canary },
	} {
		domain := ids.Domains[0].Domain
		change(&domain)
		foreign, err := shipped.Sign(m, client.EIP712, domain, s.alice.Sign)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(field, func(t *testing.T) {
			refused(t, s.put(s.alice, m.ID, foreign), http.StatusBadRequest, "typed-data-mismatch")
		})
	}
	t.Run("chainId", func(t *testing.T) { // the SDK refuses to sign this one
		foreign := edit(t, signed, func(doc map[string]any) {
			doc["payload"].(map[string]any)["domain"].(map[string]any)["chainId"] = 1
		})
		refused(t, s.put(s.alice, m.ID, foreign), http.StatusBadRequest, "typed-data-mismatch")
	})
	s.untouched(m.ID, signed)
}

func TestA5OneSchemeOfferedAsTheOther(t *testing.T) {
	s := open(t, nil)
	m, ids := s.draft(s.alice, "note.v1", map[string]string{"text": canary})
	shipped, err := client.ShippedTypes()
	if err != nil {
		t.Fatal(err)
	}
	typed := s.sign(s.alice, m, ids)
	plain, err := shipped.Sign(m, client.EIP191, ids.Domains[0].Domain, s.alice.Sign)
	if err != nil {
		t.Fatal(err)
	}
	as := func(signed []byte, scheme client.Scheme) []byte {
		return edit(t, signed, func(doc map[string]any) { doc["scheme"] = string(scheme) })
	}
	refused(t, s.put(s.alice, m.ID, as(typed, client.EIP191)), http.StatusBadRequest, "scheme-mismatch")
	refused(t, s.put(s.alice, m.ID, as(plain, client.EIP712)), http.StatusBadRequest, "scheme-mismatch")
	var signature any
	edit(t, plain, func(doc map[string]any) { signature = doc["signature"] })
	crossed := edit(t, typed, func(doc map[string]any) { doc["signature"] = signature }) // recovers to somebody else
	refused(t, s.put(s.alice, m.ID, crossed), http.StatusForbidden, "signer-unknown")
	s.untouched(m.ID, typed)
}

func TestA6SignatureOutOfRange(t *testing.T) {
	s := open(t, nil)
	id, signed := s.note(s.alice, canary)
	for name, value := range map[string]*big.Int{"zero": new(big.Int), "the order": crypto.S256().Params().N} {
		for i, scalar := range []string{"r", "s"} {
			t.Run(scalar+" is "+name, func(t *testing.T) {
				bad := resigned(t, signed, func(sig []byte) []byte { value.FillBytes(sig[32*i : 32*i+32]); return sig })
				refused(t, s.put(s.alice, id, bad), http.StatusBadRequest, "signature-malformed")
			})
		}
	}
	s.untouched(id, signed)
}

func TestA7AnotherClientsMessageID(t *testing.T) {
	s := open(t, nil)
	bob := s.enroll("bob")
	m, ids := s.draft(s.alice, "note.v1", map[string]string{"text": canary})
	signed := s.sign(s.alice, m, ids)
	stolen := m
	stolen.Client = bob.ID
	refused(t, s.put(bob, m.ID, signed), http.StatusNotFound, "message-unknown")
	refused(t, s.put(bob, m.ID, s.sign(bob, stolen, ids)), http.StatusNotFound, "message-unknown")
	s.untouched(m.ID, signed)
	for _, path := range []string{"", "/original", "/history", "/why", "/events"} {
		refused(t, bob.Do(t, "GET", "/v1/messages/"+m.ID+path, "", nil), http.StatusNotFound, "message-unknown")
	}
	refused(t, s.put(bob, m.ID, signed), http.StatusNotFound, "message-unknown")
}

func TestA8ExpiredOrNeverIssued(t *testing.T) {
	s := open(t, map[string]any{"messages": map[string]any{"id_expiry": "1s"}})
	m, ids := s.draft(s.alice, "note.v1", map[string]string{"text": canary})
	signed := s.sign(s.alice, m, ids)
	never := m
	never.ID, never.Expires = string(message.NewID()), time.Now().Add(time.Hour)
	refused(t, s.put(s.alice, never.ID, s.sign(s.alice, never, ids)), http.StatusNotFound, "message-unknown")
	<-time.After(time.Until(ids.IDs[0].Expires)) // the id's time is what is tested
	refused(t, s.put(s.alice, m.ID, signed), http.StatusGone, "message-id-expired")
	m.Expires = time.Now().Add(time.Hour) // a message that says that it lasts longer than its id does
	refused(t, s.put(s.alice, m.ID, s.sign(s.alice, m, ids)), http.StatusGone, "message-id-expired")
}

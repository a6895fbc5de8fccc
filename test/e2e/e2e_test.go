// Package e2e holds what Aval promises against the whole: the built program in a process of its own, spoken to over HTTP by
// the SDK and by hand, with a chain beside it that is asked what really happened.
//
// What is refused (A1 to A8, A11, A13, A20 to A22) is refused here as a client meets it: with the status, with a problem document
// that names the code, and without a word of what was sent. The rooms' own tests go through the many forms of each refusal;
// A9 and A10 (internal/chain/evm), A15 (internal/custody/signer/signertest) and A16 (internal/backend/sqlite) cannot be
// reached over HTTP at all.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

// program is the path of aval, built once.
var program string

func TestMain(m *testing.M) { stage.Main(m, &program) }

// patience is how long anything may take that has to happen.
const patience = time.Minute

// canary stands for whatever a client may send that must not come back.
const canary = "hunter2canary"

// scene is an installation that serves, its chain, and one client with a filled wallet.
type scene struct {
	t        *testing.T
	chain    *stage.Chain
	in       *stage.Installation
	process  *stage.Process
	operator *client.Client
	alice    *stage.Party
	wallet   client.Wallet
}

// open starts an installation over its own chain; fields go into its configuration.
func open(t *testing.T, fields map[string]any) *scene {
	t.Helper()
	t.Parallel()
	s := &scene{t: t, chain: stage.NewChain(t, t.TempDir())}
	config := map[string]any{"chain": map[string]any{"url": s.chain.Wire.URL, "id": s.chain.ChainID()}}
	for name, value := range fields {
		config[name] = value
	}
	s.in = stage.Install(t, program, config)
	s.serve()
	var err error
	if s.operator, err = s.in.Operator(); err != nil {
		t.Fatal(err)
	}
	s.alice = s.enroll("alice")
	s.wallet = s.filled(s.alice, "main")
	return s
}

// serve starts the process and waits until it answers.
func (s *scene) serve() {
	s.t.Helper()
	s.serveWith("")
}

// serveWith starts it with faults.
func (s *scene) serveWith(faults string) {
	s.t.Helper()
	var err error
	if s.process, err = s.in.Start(faults); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.process.Kill)
	select {
	case <-s.process.Ready:
	case <-s.process.Done:
		s.t.Fatal(s.process.Err())
	case <-time.After(patience):
		s.t.Fatalf("aval did not start: %s", s.process.Stderr())
	}
}

func (s *scene) enroll(name string) *stage.Party {
	s.t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := stage.Enroll(s.t.Context(), s.operator, s.in.URL, name, crypto.PubkeyToAddress(key.PublicKey).Hex(), client.KeySigner(key))
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// filled makes a wallet with 100 coins.
func (s *scene) filled(p *stage.Party, name string) client.Wallet {
	s.t.Helper()
	w, err := p.CreateWallet(s.t.Context(), client.NewWallet{Name: name})
	if err == nil {
		err = s.chain.Pay(s.t.Context(), w.Address, new(big.Int).Mul(big.NewInt(100), big.NewInt(params.Ether)))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// draft is a message with a fresh id, not signed yet.
func (s *scene) draft(p *stage.Party, messageType string, body any) (client.Message, client.IDs) {
	s.t.Helper()
	ids, err := p.IssueIDs(s.t.Context(), 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return client.Message{ID: ids.IDs[0].ID, Type: messageType, Client: ids.Client, Chain: ids.Domains[0].Chain, Expires: ids.IDs[0].Expires, Body: body}, ids
}

// note is a signed note with a fresh id.
func (s *scene) note(p *stage.Party, text string) (id string, signed []byte) {
	s.t.Helper()
	m, ids := s.draft(p, "note.v1", map[string]string{"text": text})
	return m.ID, s.sign(p, m, ids)
}

func (s *scene) sign(p *stage.Party, m client.Message, ids client.IDs) []byte {
	s.t.Helper()
	signed, err := p.Client.Sign(m, ids, p.Sign)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// send submits an instruction of alice's.
func (s *scene) send(messageType string, body any) client.Record {
	s.t.Helper()
	m, ids := s.draft(s.alice, messageType, body)
	rec, err := s.alice.Submit(s.t.Context(), m.ID, s.sign(s.alice, m, ids))
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

func (s *scene) transfer(to, asset, amount string) client.Record {
	s.t.Helper()
	return s.send("transfer.v1", client.Transfer{Wallet: s.wallet.ID, To: to, Asset: asset, Amount: amount})
}

// until waits until a message's record is as wanted.
func (s *scene) until(id, what string, is func(client.Record) bool) client.Record {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		rec, err := s.operator.Get(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if is(rec) {
			return rec
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not %s after %v: %+v", id, what, patience, rec)
		}
		<-tick.C
	}
}

// ends waits for the end of a message, which has to be this one.
func (s *scene) ends(id string, status client.Status) client.Record {
	s.t.Helper()
	rec := s.until(id, "at its end", func(r client.Record) bool { return r.Archived || r.Status == client.Parked })
	if rec.Status != status {
		s.t.Fatalf("%s ended as %+v, want %s", id, rec, status)
	}
	return rec
}

// paid is the transactions of a wallet on the chain.
func (s *scene) paid(from string) []stage.Entry {
	s.t.Helper()
	l, err := stage.ReadLedger(s.t.Context(), s.chain.URL(), from)
	if err != nil {
		s.t.Fatal(err)
	}
	return l[common.HexToAddress(from)]
}

// put submits by hand.
func (s *scene) put(p *stage.Party, id string, signed []byte) stage.Answer {
	s.t.Helper()
	return p.Do(s.t, "PUT", "/v1/messages/"+id, "", signed)
}

// refused checks that an answer is a problem document of this status and code that repeats nothing (I25).
func refused(t *testing.T, a stage.Answer, status int, code string) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Instance string
		Status                        int
	}
	if err := json.Unmarshal(a.Body, &p); err != nil || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("the answer is no problem document but %d %s %s", a.Status, a.Header.Get("Content-Type"), a.Body)
	}
	if a.Status != status || p.Status != status || p.Type != "/problems/"+code || p.Title == "" || p.Detail == "" || p.Instance == "" {
		t.Errorf("refused with %d %s, want %d %s: %s", a.Status, p.Type, status, code, a.Body)
	}
	if bytes.Contains(a.Body, []byte(canary)) || strings.Contains(fmt.Sprint(a.Header), canary) {
		t.Errorf("the refusal repeats what was sent: %v %s", a.Header, a.Body)
	}
}

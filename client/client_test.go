package client_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
)

// party registers a client the way an operator does, and connects as it.
func party(t testing.TB, e *trial.Edge, name string) (*client.Client, *ecdsa.PrivateKey, client.Party) {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	op := connect(t, e.URL, client.WithToken(e.Operator(t)))
	p, err := op.CreateClient(t.Context(), name, crypto.PubkeyToAddress(key.PublicKey).Hex())
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, e.URL, client.WithCredentials(p.ID, p.Secret)), key, p
}

func note(t testing.TB, c *client.Client, key *ecdsa.PrivateKey, text string) client.Record {
	t.Helper()
	rec, err := c.Send(t.Context(), client.KeySigner(key), "note.v1", trial.Chain, map[string]string{"text": text})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestSendWatchRead(t *testing.T) {
	e := start(t, nil)
	c, key, p := party(t, e, "shop")
	rec := note(t, c, key, "hello")
	if rec.Client != p.ID || rec.Signer != p.Signers[0] || rec.Status != client.Running || rec.Version != 1 {
		t.Fatalf("got %+v", rec)
	}
	var seen []int64
	for step, err := range c.Watch(t.Context(), rec.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if seen = append(seen, step.Entry.Version); len(seen) == 1 {
			if err := e.Finish(t.Context(), message.ID(rec.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(seen, []int64{1, 2, 3}) {
		t.Errorf("watched the versions %v, want 1 2 3", seen)
	}
	last, err := c.Get(t.Context(), rec.ID)
	if err != nil || last.State != "archived" || !last.Status.Final() {
		t.Errorf("got %+v, %v", last, err)
	}
	history, err := c.History(t.Context(), rec.ID)
	if err != nil || len(history) != 3 {
		t.Errorf("got %+v, %v", history, err)
	}
	var original message.Submission
	raw, err := c.Original(t.Context(), rec.ID)
	if err != nil || json.Unmarshal(raw, &original) != nil || original.Scheme != message.EIP712 {
		t.Errorf("got %s, %v", raw, err)
	}
	var why guarantee.Why
	if raw, err := c.Why(t.Context(), rec.ID); err != nil || json.Unmarshal(raw, &why) != nil || why.Sentence == "" {
		t.Errorf("got %s, %v", raw, err)
	}
}

func TestWaitReturnsWhenAPersonIsNeeded(t *testing.T) {
	e := start(t, nil)
	c, key, _ := party(t, e, "shop")
	op := connect(t, e.URL, client.WithToken(e.Operator(t)))
	rec := note(t, c, key, "hold me")
	if _, err := op.Park(t.Context(), rec.ID, "look at it first"); err != nil {
		t.Fatal(err)
	}
	held, err := c.Wait(t.Context(), rec.ID)
	if err != nil || held.Status != client.Parked || !strings.Contains(held.Reason, "look at it first") {
		t.Fatalf("got %+v, %v", held, err)
	}
	if _, err := op.Resume(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	if err := e.Finish(t.Context(), message.ID(rec.ID)); err != nil {
		t.Fatal(err)
	}
	if done, err := c.Wait(t.Context(), rec.ID); err != nil || done.Status != client.Succeeded {
		t.Errorf("got %+v, %v", done, err)
	}
}

func TestEventsOfAllMessages(t *testing.T) {
	e := start(t, nil)
	c, key, _ := party(t, e, "shop")
	first := note(t, c, key, "one")
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	var last int64
	second := note(t, c, key, "two")
	for ev, err := range c.Events(ctx, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if last = ev.Seq; ev.Record.ID == second.ID {
			break
		}
	}
	if last < 2 || first.ID == second.ID {
		t.Errorf("the second message's event has seq %d", last)
	}
}

func TestTasksAreAnswered(t *testing.T) {
	e := start(t, nil)
	c, key, _ := party(t, e, "shop")
	id := message.ID(note(t, c, key, "wait for it").ID)
	token, err := e.Ask(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	answer := map[string]any{"paid": json.Number("1.10")}
	if err := errors.Join(c.HeartbeatTask(t.Context(), token), c.SucceedTask(t.Context(), token, answer), c.SucceedTask(t.Context(), token, answer)); err != nil {
		t.Error(err)
	}
	calls, err := e.Calls.Open(t.Context(), id)
	if err != nil || len(calls) != 1 || calls[0].Heard != 2 || string(calls[0].Answer.Output) != `{"paid":1.10}` {
		t.Errorf("stored: %+v %v", calls, err)
	}
	if err := c.FailTask(t.Context(), token, "E", "a cause"); client.CodeOf(err) != "task-answered" {
		t.Errorf("a second answer: %v", err)
	}
	if err := c.HeartbeatTask(t.Context(), "avt1_none"); client.CodeOf(err) != "task-token-unknown" {
		t.Errorf("a token that nobody made: %v", err)
	}
}

func TestProblemsAreTyped(t *testing.T) {
	e := start(t, nil)
	c, key, p := party(t, e, "shop")
	_, err := c.Get(t.Context(), string(message.NewID()))
	var told *client.Problem
	if !errors.As(err, &told) || told.Code != "message-unknown" || told.Status != 404 || told.Detail == "" || told.Instance == "" {
		t.Errorf("got %+v", err)
	}
	if _, err = c.IssueIDs(t.Context(), -1); client.CodeOf(err) != "request-invalid" || !strings.Contains(err.Error(), "body.count") {
		t.Errorf("got %v", err)
	}
	if _, err = c.Keys(t.Context()); client.CodeOf(err) != "scope-missing" {
		t.Errorf("got %v", err)
	}
	_, err = c.Send(t.Context(), client.KeySigner(key), "note.v1", "eip155:1", map[string]string{"text": "x"})
	if err == nil || !strings.Contains(err.Error(), "eip155:1") {
		t.Errorf("an unknown chain: %v", err)
	}
	if _, err = c.Send(t.Context(), client.KeySigner(key), "note.v1", trial.Chain, map[string]string{"no": "such"}); err == nil {
		t.Error("a body that its schema refuses was sent")
	}
	wrong := connect(t, e.URL, client.WithCredentials(p.ID, "guess"))
	if _, err := wrong.Counts(t.Context()); err == nil || strings.Contains(err.Error(), "guess") {
		t.Errorf("a wrong secret: %v", err)
	}
	if _, err := client.New("127.0.0.1:8080"); err == nil {
		t.Error("an address that is no URL was taken")
	}
}

func TestPartiesAndInstallation(t *testing.T) {
	e := start(t, nil)
	c, _, p := party(t, e, "shop")
	op := connect(t, e.URL, client.WithToken(e.Operator(t)))
	w, err := c.CreateWallet(t.Context(), client.NewWallet{Name: "main"})
	if err != nil || w.Owner != p.ID {
		t.Fatalf("got %+v, %v", w, err)
	}
	if again, err := op.CreateWallet(t.Context(), client.NewWallet{Name: "main", Owner: p.ID, Chain: trial.Chain}); err != nil || again != w {
		t.Errorf("the same wallet again: got %+v, %v", again, err)
	}
	if list, err := c.Wallets(t.Context()); err != nil || len(list) != 1 || list[0] != w {
		t.Errorf("got %+v, %v", list, err)
	}
	if amount, err := c.Balance(t.Context(), w.ID, "native"); err != nil || amount != "1000" {
		t.Errorf("got %s, %v", amount, err)
	}
	if keys, err := op.Keys(t.Context()); err != nil || len(keys) != 1 || keys[0].ID != w.Key {
		t.Errorf("got %+v, %v", keys, err)
	}
	if chains, err := c.Chains(t.Context()); err != nil || len(chains) != 1 || chains[0].Domain.ChainID != 1337 {
		t.Errorf("got %+v, %v", chains, err)
	}
	if names, err := c.TypeNames(t.Context()); err != nil || !slices.Contains(names, "transfer.v1") {
		t.Errorf("got %v, %v", names, err)
	}
	if _, err := op.VerifyReference(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := op.Disable(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Counts(t.Context()); client.CodeOf(err) != "client-disabled" {
		t.Errorf("a disabled client: %v", err)
	}
	if back, err := op.Enable(t.Context(), p.ID); err != nil || back.Disabled {
		t.Errorf("got %+v, %v", back, err)
	}
}

// The SDK's structs have the fields that the server's have.
func TestStructsKeepUpWithTheServer(t *testing.T) {
	for name, pair := range map[string][2]any{
		"message": {client.Record{}, server.Message{}}, "links": {client.Links{}, server.Links{}}, "entry": {client.Entry{}, guarantee.Entry{}},
		"step": {client.Step{}, server.Step{}}, "ids": {client.IDs{}, server.IssuedIDs{}}, "id": {client.ID{}, server.Issued{}},
		"domain": {client.Domain{}, message.Domain{}}, "chain domain": {client.ChainDomain{}, server.ChainDomain{}}, "page": {client.Page{}, server.MessagePage{}},
		"count": {client.Count{}, server.Count{}}, "wallet": {client.Wallet{}, server.Wallet{}}, "client": {client.Party{}, server.Client{}},
		"key": {client.Key{}, server.Key{}}, "chain": {client.Chain{}, server.Chain{}}, "flaw": {client.Flaw{}, server.Flaw{}},
	} {
		if ours, theirs := tags(pair[0]), tags(pair[1]); !slices.Equal(ours, theirs) {
			t.Errorf("%s: the SDK has %v, the server %v", name, ours, theirs)
		}
	}
}

func tags(v any) []string {
	var out []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		out = append(out, f.Tag.Get("json"))
	}
	slices.Sort(out)
	return out
}

//go:build cluster

package signer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/relay"
)

// hall is the signing pipeline on a PostgreSQL database.
type hall struct {
	t        *testing.T
	faults   *fault.Points
	db       *postgres.DB
	requests *postgres.Requests
	signer   *signer.Signer
	store    *watched
	own      []key.Key // bound to nothing
	pool     []key.Key // of the pool "hot"
}

func newHall(t *testing.T) *hall {
	t.Helper()
	server := &trial.Server{Given: os.Getenv(trial.Variable)}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &hall{t: t, faults: fault.New()}
	db, err := postgres.Open(t.Context(), server.Fresh(t).URL, postgres.Options{Name: "worker", Faults: h.faults, Pool: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	folder := t.TempDir()
	store, err := sealed.Open(context.Background(), sealed.Options{Folder: filepath.Join(folder, "keystore"), KeyFile: filepath.Join(folder, "kek"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	h.db, h.requests, h.store = db, postgres.NewRequests(db), &watched{Store: store}
	nonces := func(context.Context, string, string) (chain.Account, error) { return chain.Account{}, nil }
	h.signer = signer.New(postgres.NewKeys(db), postgres.NewDecisions(db), h.store, codecs, nonces,
		signer.Options{Holder: db.Process() + "/sign", Wait: 5 * time.Second, Faults: h.faults})
	for i := range 6 {
		pool := ""
		if i >= 3 {
			pool = "hot"
		}
		k, err := h.signer.CreateKey(t.Context(), network, pool)
		if err != nil {
			t.Fatal(err)
		}
		if pool == "" {
			h.own = append(h.own, k)
		} else {
			h.pool = append(h.pool, k)
		}
	}
	return h
}

func (h *hall) worker() *signer.Worker {
	return &signer.Worker{Signer: h.signer, Decisions: postgres.NewDecisions(h.db), Requests: h.requests, Bus: postgres.NewBus(h.db), Log: slog.New(slog.DiscardHandler)}
}

// run is what the role does.
func (h *hall) run(ctx context.Context) {
	c := bus.Consumer{Bus: postgres.NewBus(h.db), Parked: postgres.NewParked(h.db), Group: signer.Group, Topics: []string{bus.Unsigned}, Handle: h.worker().Handle}
	_ = c.Run(ctx)
}

// handle has records handled that nothing is wrong with.
func (h *hall) handle(records []bus.Record) {
	h.t.Helper()
	for i, err := range h.worker().Handle(h.t.Context(), records) {
		if err != nil {
			h.t.Fatalf("record %d: %v", i, err)
		}
	}
}

// put commits n requests: for the key, or for the pool when it has no id.
func (h *hall) put(n int, k key.Key) (requests []signer.Request) {
	h.t.Helper()
	for i := range n {
		tx := chain.Unsigned{Chain: network, From: k.Address, To: "0x00000000000000000000000000000000000A11cE", Value: big.NewInt(int64(i)), Gas: 21000, Fee: big.NewInt(9), Tip: big.NewInt(1)}
		r := signer.Request{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Key: k.ID, Tx: tx}
		if k.ID == "" {
			r.Pool = "hot"
		}
		requests = append(requests, r)
	}
	if err := h.requests.Put(h.t.Context(), requests); err != nil {
		h.t.Fatal(err)
	}
	return requests
}

func (h *hall) records(requests []signer.Request) []bus.Record {
	h.t.Helper()
	records := make([]bus.Record, len(requests))
	for i, r := range requests {
		var err error
		if records[i], err = signer.UnsignedRecord(signer.Open{Step: r.Step, Key: r.Key, Pool: r.Pool}); err != nil {
			h.t.Fatal(err)
		}
	}
	return records
}

func (h *hall) decided(requests []signer.Request) map[signer.Step]signer.Decision {
	h.t.Helper()
	steps := make([]signer.Step, len(requests))
	for i, r := range requests {
		steps[i] = r.Step
	}
	found, err := postgres.NewDecisions(h.db).Find(h.t.Context(), steps)
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

func (h *hall) refusal(r signer.Request) error {
	h.t.Helper()
	found, err := h.requests.Find(h.t.Context(), []signer.Step{r.Step})
	if err != nil {
		h.t.Fatal(err)
	}
	return found[r.Step].Refused
}

// checkNonces: what was decided has each key's nonces from 0 on, without a gap, and bytes.
func checkNonces(t *testing.T, decided map[signer.Step]signer.Decision, want int) {
	t.Helper()
	nonces := map[string][]uint64{}
	for _, d := range decided {
		nonces[d.Key] = append(nonces[d.Key], d.Nonce)
		if len(d.Signed.Raw) == 0 {
			t.Errorf("%v is not signed", d.Step)
		}
	}
	for id, all := range nonces {
		slices.Sort(all)
		if all[0] != 0 || all[len(all)-1] != uint64(len(all)-1) {
			t.Errorf("the key %s has the nonces %v", id, all)
		}
	}
	if len(decided) != want {
		t.Errorf("%d requests were decided; want %d", len(decided), want)
	}
}

// TestThePipelineSignsEachRequestOnce: from committed requests through the relay, the bus and three workers to announced
// transactions, of single keys and of a pool, while stores and announcements fail. Then nothing waits.
func TestThePipelineSignsEachRequestOnce(t *testing.T) {
	h := newHall(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer func() { stop(); running.Wait() }()
	r := &relay.Relay{Sources: []relay.Source{&relay.Unsigned{Requests: h.requests, Again: time.Second}}, Cursors: postgres.NewCursors(h.db), Bus: postgres.NewBus(h.db), Batch: 32}
	running.Go(func() { _ = r.Run(ctx) })
	for range 3 {
		running.Go(func() { h.run(ctx) })
	}
	h.faults.Arm("signer.publish.before", fault.Fail, 2)
	h.faults.Arm("decisions.store.after", fault.Fail, 2)
	h.faults.Arm("decisions.store.before", fault.Fail, 4)
	h.faults.Arm("decisions.decide.after", fault.Fail, 3)
	var all []signer.Request
	for range 10 {
		for _, k := range append([]key.Key{{}, {}}, h.own...) {
			all = append(all, h.put(9, k)...)
		}
	}
	m, err := postgres.NewBus(h.db).Join(ctx, "test", bus.Signed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	seen := map[signer.Step]chain.Signed{}
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for len(seen) < len(all) {
		records, err := m.Poll(limit, 100)
		if err != nil {
			t.Fatalf("%d of %d were announced: %v", len(seen), len(all), err)
		}
		for _, r := range records {
			d, err := signer.ReadSigned(r)
			if before, again := seen[d.Step]; err != nil || again && !bytes.Equal(before.Raw, d.Signed.Raw) {
				t.Fatalf("%v was announced with other bytes, %v", d.Step, err)
			}
			seen[d.Step] = d.Signed
		}
	}
	decided := h.decided(all)
	checkNonces(t, decided, len(all))
	used := map[string]bool{}
	for _, one := range all {
		d := decided[one.Step]
		if d.Signed.Hash != seen[one.Step].Hash || one.Key != "" && d.Key != one.Key {
			t.Errorf("%v is stored with %s of %s, and announced with %s", one.Step, d.Signed.Hash, d.Key, seen[one.Step].Hash)
		}
		used[d.Key] = true
	}
	if len(used) < 5 {
		t.Errorf("%d keys were used; want the three, and more than one of the pool", len(used))
	}
	for n := 1; n > 0; {
		if n, _, err = h.requests.Waiting(limit); err != nil {
			t.Fatalf("%d requests still wait: %v", n, err)
		}
	}
}

// TestI13RedeliveredRecordsGetTheStoredBytes: what was carried out before is announced again and not signed again.
func TestI13RedeliveredRecordsGetTheStoredBytes(t *testing.T) {
	h := newHall(t)
	requests := h.put(5, h.own[0])
	records := h.records(requests)
	h.faults.Arm("signer.publish.before", fault.Fail, 1)
	for _, err := range h.worker().Handle(t.Context(), records) {
		if !errors.Is(err, fault.ErrInjected) || problem.KindOf(err) != problem.Unavailable {
			t.Fatal(err)
		}
	}
	before := h.decided(requests)
	checkNonces(t, before, 5)
	for range 2 {
		h.handle(append(records, records...))
	}
	if after := h.decided(requests); fmt.Sprint(after) != fmt.Sprint(before) || h.store.signatures() != 5 {
		t.Errorf("handled again: %v, want %v; %d signatures, want 5", after, before, h.store.signatures())
	}
}

// TestI18APoisonRequestFailsAlone: of one batch what nobody asked for and what cannot be read is parked (A28), what can never be
// signed or is too late is refused with the reason, and the rest is signed.
func TestI18APoisonRequestFailsAlone(t *testing.T) {
	h := newHall(t)
	good := h.put(4, h.own[0])
	stranger := h.own[0]
	stranger.Address = h.own[1].Address
	unfit := h.put(1, stranger)[0]
	late := signer.Request{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Key: h.own[0].ID, Tx: good[0].Tx, Until: time.Now().Add(-time.Second)}
	nobody := signer.Request{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Key: "key_none", Tx: good[0].Tx}
	if err := h.requests.Put(t.Context(), []signer.Request{late, nobody}); err != nil {
		t.Fatal(err)
	}
	unasked := signer.Request{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Key: h.own[0].ID}
	records := h.records([]signer.Request{good[0], unfit, unasked, good[1], late, nobody, good[2], good[3]})
	records = append(records, bus.Record{Topic: bus.Unsigned, Value: []byte("{")}, bus.Record{Topic: bus.Unsigned, Value: []byte("{}")})
	w, told := h.worker(), map[signer.Step]bool{}
	w.Answered = func(steps []signer.Step) {
		for _, step := range steps {
			told[step] = true
		}
	}
	for range 2 { // and once more: nothing changes
		for i, why := range w.Handle(t.Context(), records) {
			want := map[int]error{2: signer.ErrUnasked, 8: signer.ErrRecord, 9: signer.ErrRecord}[i]
			if !errors.Is(why, want) {
				t.Errorf("record %d: %v; want %v", i, why, want)
			}
		}
	}
	for _, r := range append(good, unfit, late, nobody) {
		if !told[r.Step] {
			t.Errorf("nobody was told of the answer to %s", r.Step)
		}
	}
	checkNonces(t, h.decided(append(good, unfit, late, nobody, unasked)), 4)
	for code, r := range map[string]signer.Request{"transaction-unfit": unfit, "message-expired": late, "key-unknown": nobody} {
		if why := h.refusal(r); why == nil || problem.From(why).Code != code {
			t.Errorf("%s is refused with %v; want %s", r.Step, why, code)
		}
	}
	if n, _, err := h.requests.Waiting(t.Context()); err != nil || n != 0 {
		t.Errorf("%d requests wait, %v; want none", n, err)
	}
}

// TestWhatIsDecidedAndCannotBeSignedIsTold: a nonce is taken, so nothing is refused: the request stays open, and the log says why.
func TestWhatIsDecidedAndCannotBeSignedIsTold(t *testing.T) {
	h := newHall(t)
	address, err := codec.Address("0x00000000000000000000000000000000000b0b01")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := key.Key{ID: "key_elsewhere", Chain: network, Address: address}
	if err := postgres.NewKeys(h.db).Add(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	request := h.put(1, elsewhere)
	var told bytes.Buffer
	outcomes := map[string]int{}
	w := h.worker()
	w.Log, w.Observe = slog.New(slog.NewTextHandler(&told, nil)), func(outcome string, n int) { outcomes[outcome] += n }
	for _, err := range w.Handle(t.Context(), h.records(request)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(h.decided(request)) != 1 || h.refusal(request[0]) != nil {
		t.Fatalf("%d decided, refused with %v; want it decided alone", len(h.decided(request)), h.refusal(request[0]))
	}
	if outcomes["left"] != 1 || outcomes["refused"] != 0 {
		t.Errorf("the outcomes are %v; want it left", outcomes)
	}
	if !bytes.Contains(told.Bytes(), []byte(request[0].Step.Message)) {
		t.Errorf("the log does not tell of it: %s", told.String())
	}
}

// TestARefusalIsToldOnce: the one who asks learns of it, and may then ask anew, with what fits.
func TestARefusalIsToldOnce(t *testing.T) {
	h := newHall(t)
	p := &signer.Pipeline{Decisions: postgres.NewDecisions(h.db), Requests: h.requests}
	stranger := h.own[0]
	stranger.Address = h.own[1].Address
	request := h.put(1, stranger)[0]
	steps := []signer.Step{request.Step}
	ask := func(want error) {
		t.Helper()
		asked, err := p.Asked(t.Context(), steps)
		if err != nil || !errors.Is(asked[request.Step], want) {
			t.Fatalf("it stands at %v, %v; want %v", asked[request.Step], err, want)
		}
	}
	handle := func() { h.handle(h.records([]signer.Request{request})) }
	ask(signer.ErrUnanswered)
	handle()
	ask(signer.ErrMismatch)
	ask(nil)
	request.Tx.From = h.own[0].Address
	if _, errs := p.SignAll(t.Context(), []signer.Request{request}); !errors.Is(errs[0], signer.ErrUnanswered) {
		t.Fatal(errs)
	}
	ask(signer.ErrUnanswered)
	handle()
	decisions, errs := p.SignAll(t.Context(), []signer.Request{request})
	if errs[0] != nil || len(decisions[0].Signed.Raw) == 0 {
		t.Fatalf("the second request was answered with %+v, %v", decisions, errs)
	}
}

// TestI18WhatNoRegistryLeasesIsWaitedFor: while no key can be leased at all, the record comes again soon: its request is not left to be
// relayed again, and not refused.
func TestI18WhatNoRegistryLeasesIsWaitedFor(t *testing.T) {
	h := newHall(t)
	requests := h.put(2, h.own[0])
	w, outcomes := h.worker(), map[string]int{}
	w.Observe = func(outcome string, n int) { outcomes[outcome] += n }
	h.faults.Arm("keys.lease.before", fault.Fail, 1)
	for i, why := range w.Handle(t.Context(), h.records(requests)) {
		if problem.KindOf(why) != problem.Unavailable || problem.From(why).Code != "signing-delayed" {
			t.Errorf("record %d: %v; want signing-delayed", i, why)
		}
	}
	if len(outcomes) > 0 || len(h.decided(requests)) > 0 {
		t.Errorf("%v; want nothing yet", outcomes)
	}
	h.handle(h.records(requests))
	checkNonces(t, h.decided(requests), 2)
}

// TestWhatIsWithdrawnIsNotSigned: a worker that has the record already decides nothing. What is decided is not withdrawn.
func TestWhatIsWithdrawnIsNotSigned(t *testing.T) {
	h := newHall(t)
	p := &signer.Pipeline{Decisions: postgres.NewDecisions(h.db), Requests: h.requests}
	requests := h.put(2, h.own[0])
	steps := []signer.Step{requests[0].Step, requests[1].Step, {Message: message.NewID(), State: "Sign"}}
	h.handle(h.records(requests[:1]))
	over := problem.New(problem.Unavailable, "States.Timeout", "its time is over")
	for range 2 { // and once more: nothing changes
		if err := p.Withdraw(t.Context(), steps, over); err != nil {
			t.Fatal(err)
		}
	}
	h.handle(h.records(requests))
	decided := h.decided(requests)
	if _, first := decided[steps[0]]; !first || len(decided) != 1 {
		t.Errorf("decided: %+v; want the first alone", decided)
	}
	asked, err := p.Asked(t.Context(), steps[1:])
	if err != nil || len(asked) != 1 || problem.From(asked[steps[1]]).Code != over.Code {
		t.Errorf("what was withdrawn stands at %v, %v", asked, err)
	}
}

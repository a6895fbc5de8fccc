//go:build cluster

package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
)

// another opens the same database as one more process, which stays beside the others.
func another(t testing.TB, s *storage) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), s.URL, postgres.Options{Name: "other", Faults: s.faults, Pool: 4})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func claim(t *testing.T, f feeder.Feeder) []message.ID {
	t.Helper()
	ids, err := f.Claim(within(t, time.Minute), 100)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestClaimsOfTheDeadComeBack: two processes do not get the same ids, and what one had when it was killed the other one gets.
func TestClaimsOfTheDeadComeBack(t *testing.T) {
	s := newStorage(t)
	one, two := s.open(t), another(t, s)
	defer postgres.Crash(two)
	rec := guaranteetest.Accept(t, postgres.NewGuarantee(one), "cli_a", "x")
	claim(t, postgres.NewFeeder(one, time.Now))
	heir := postgres.NewFeeder(two, time.Now)
	if ids, err := heir.Claim(within(t, 3*time.Second), 10); err == nil {
		t.Fatalf("%v was handed out to two living processes", ids)
	}
	postgres.Crash(one)
	s.last = nil
	if ids := claim(t, heir); !slices.Equal(ids, []message.ID{rec.ID}) {
		t.Errorf("after the crash of its holder %v was handed out, want %s", ids, rec.ID)
	}
}

// TestI10KeysOfTheDeadAreSetAside: a key is not taken from a living process, and is quarantined once its holder is gone, when
// its lease would still last for long. What the dead one did not release it cannot release.
func TestI10KeysOfTheDeadAreSetAside(t *testing.T) {
	s := newStorage(t)
	one, two := s.open(t), another(t, s)
	defer postgres.Crash(two)
	held, heir := postgres.NewKeys(one), postgres.NewKeys(two)
	if err := held.Add(t.Context(), key.Key{ID: "key_a", Chain: "c", Address: "a"}); err != nil {
		t.Fatal(err)
	}
	lease, err := held.Lease(t.Context(), key.Request{Holder: one.Process() + "/sign", Key: "key_a", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	wanted := key.Request{Holder: two.Process() + "/sign", Key: "key_a", TTL: time.Hour}
	if aside, err := heir.Quarantine(t.Context(), key.OfProcess(two.Process())); err != nil || len(aside) != 0 {
		t.Fatalf("a start beside a living process set aside %v, %v", aside, err)
	}
	if _, err := heir.Lease(within(t, 100*time.Millisecond), wanted); !errors.Is(err, key.ErrBusy) {
		t.Fatalf("the key of a living process: %v, want key-busy", err)
	}
	postgres.Crash(one)
	s.last = nil
	if _, err := heir.Lease(within(t, time.Minute), wanted); !errors.Is(err, key.ErrQuarantined) {
		t.Fatalf("the key of a dead process: %v, want key-quarantined", err)
	}
	if got, err := heir.Get(t.Context(), "key_a"); err != nil || got.Holder != lease.Holder || got.Reason == "" {
		t.Errorf("set aside as %+v, %v; want the holder and a reason on record", got, err)
	}
	if err := heir.Release(t.Context(), lease); !errors.Is(err, key.ErrStale) {
		t.Errorf("the late release: %v, want lease-stale", err)
	}
}

// TestKeysAreLinearizable: two processes at once, with writes that fail.
func TestKeysAreLinearizable(t *testing.T) {
	s := newStorage(t)
	one, two := s.open(t), another(t, s)
	defer postgres.Crash(two)
	keytest.RunLinear(t, []key.Registry{postgres.NewKeys(one), postgres.NewKeys(two)}, s.faults)
}

// TestI16ALongTransactionHidesNothing: a transaction with a lower number commits after one with a higher number. A reader that
// went by numbers alone would have passed it by.
func TestI16ALongTransactionHidesNothing(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	g, o := postgres.NewGuarantee(db), postgres.NewOutbox(db)
	recs := accepted(t, g, 3)
	trimAll(t, o, 3)
	_, before, err := o.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slow := session(t, s.URL)
	for _, statement := range []string{
		"BEGIN",
		`INSERT INTO outbox (seq, id, version, state, status, reason, archived, updated)
			VALUES ((pg_current_xact_id()::text::bigint << 20) + 1, '` + string(recs[0].ID) + `', 2, 'slow', 'running', '', false, 1)`,
	} {
		if _, err := slow.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	later, err := commitStep(t.Context(), g, recs[1:])
	if err != nil {
		t.Fatal(err)
	}
	if events, err := o.Read(within(t, 300*time.Millisecond), before, 10); err == nil {
		t.Fatalf("read %v while a transaction with a lower number was open", events)
	}
	if _, last, err := o.Bounds(t.Context()); err != nil || last != before {
		t.Errorf("the bounds reach to %d, %v while a lower number is open; want %d", last, err, before)
	}
	if _, err := slow.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	var seen []message.ID
	for after := before; len(seen) < 3; {
		events, err := o.Read(within(t, time.Minute), after, 1)
		if err != nil {
			t.Fatal(err)
		}
		seen, after = append(seen, events[0].ID), events[0].Seq
	}
	if want := append([]message.ID{recs[0].ID}, later...); seen[0] != want[0] || !sameIDs(seen, want) {
		t.Errorf("read %v, want %v and the slow one first", seen, want)
	}
}

func sameIDs(a, b []message.ID) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// TestI4TwoProcessesOneWinner lets the linearizability of commits be seen over two pools: of two processes' moves from one
// version one is applied, and both see one order of events.
func TestI4TwoProcessesOneWinner(t *testing.T) {
	s := newStorage(t)
	one, two := s.open(t), another(t, s)
	defer postgres.Crash(two)
	stores := []*postgres.Guarantee{postgres.NewGuarantee(one), postgres.NewGuarantee(two)}
	recs := accepted(t, stores[0], 20)
	type result struct {
		refused []error
		err     error
	}
	results := make(chan result)
	for version := int64(1); version <= 10; version++ {
		for i, store := range stores {
			ts := make([]guarantee.Transition, len(recs))
			for j := range recs {
				rec := recs[(j*(1-2*i)+i*19)%20] // the other process goes through them backwards
				rec.Version = version
				ts[j] = guaranteetest.Step(rec, "next", guarantee.Running)
			}
			go func() {
				refused, err := store.Commit(t.Context(), ts)
				results <- result{refused, err}
			}()
		}
		won := 0
		for range stores {
			r := <-results
			if r.err != nil {
				t.Fatal(r.err)
			}
			for _, refused := range r.refused {
				if refused == nil {
					won++
				} else if !errors.Is(refused, guarantee.ErrStale) {
					t.Fatal(refused)
				}
			}
		}
		if won != len(recs) {
			t.Fatalf("version %d of %d messages was won %d times", version, len(recs), won)
		}
	}
	var orders [2][]int64
	for i, db := range []*postgres.DB{one, two} {
		for after := int64(0); len(orders[i]) < 220; {
			events, err := postgres.NewOutbox(db).Read(within(t, time.Minute), after, 7)
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, events)
			for _, e := range events {
				orders[i], after = append(orders[i], e.Seq), e.Seq
			}
		}
	}
	if !slices.Equal(orders[0], orders[1]) {
		t.Error("two processes saw the events in two orders")
	}
}

// inOrder checks that a message's events come by version.
func inOrder(t *testing.T, events []event.Event) {
	t.Helper()
	newest := map[message.ID]int64{}
	for _, e := range events {
		if e.Version <= newest[e.ID] {
			t.Fatalf("version %d of %s comes after %d", e.Version, e.ID, newest[e.ID])
		}
		newest[e.ID] = e.Version
	}
}

// TestI18ClaimsOutliveNoLostConnection: the server drops all connections while a process holds a claim, and again while it
// settles. What the process does not work on any more is handed out again, though the process lives on.
func TestI18ClaimsOutliveNoLostConnection(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	rec := guaranteetest.Accept(t, postgres.NewGuarantee(db), "cli_a", "x")
	f := postgres.NewFeeder(db, time.Now)
	ids := claim(t, f)
	admin := session(t, s.Admin)
	if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	if err := f.Settle(t.Context(), ids); err == nil {
		t.Fatal("the connections are gone, and a settlement was reported as done")
	}
	for range 100 {
		if ids, err := f.Claim(within(t, time.Minute), 10); err == nil {
			if !slices.Equal(ids, []message.ID{rec.ID}) {
				t.Errorf("handed out %v, want %s", ids, rec.ID)
			}
			return
		}
	}
	t.Error("the feeder did not recover")
}

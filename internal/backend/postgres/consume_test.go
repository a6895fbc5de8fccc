//go:build cluster

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// reader is a consumer on a real bus, with a journal of what its handler was given.
type reader struct {
	bus    *postgres.Bus
	parked *postgres.Parked
	store  *storage
	mu     sync.Mutex
	given  map[string]int // by key: how often the handler has said that it is done
	calls  int
	came   chan struct{} // gets a token after each batch
}

func newReader(t *testing.T, n int) *reader {
	s := newStorage(t)
	db := s.open(t)
	r := &reader{bus: postgres.NewBus(db), parked: postgres.NewParked(db), store: s, given: map[string]int{}, came: make(chan struct{}, 10_000)}
	records := make([]bus.Record, n)
	for i := range records {
		records[i] = bus.Record{Topic: bus.Signed, Key: fmt.Sprintf("key-%03d", i), Value: fmt.Appendf(nil, "%d", i), Headers: map[string]string{"n": fmt.Sprint(i)}}
	}
	if err := r.bus.Publish(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	return r
}

// run consumes with the handler until so many keys were done and parked, then stops, and waits for the end.
func (r *reader) run(t *testing.T, done, parked int, answer func(call int, one bus.Record) error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.consumer(answer).Run(ctx) }()
	deadline := time.After(time.Minute)
	for {
		n, err := r.parked.Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		have := len(r.given)
		r.mu.Unlock()
		if have >= done && int(n) >= parked {
			break
		}
		select {
		case <-r.came:
		case <-deadline:
			t.Fatalf("%d are done and %d parked; want %d and %d", have, n, done, parked)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func (r *reader) consumer(answer func(call int, one bus.Record) error) bus.Consumer {
	return bus.Consumer{
		Bus: r.bus, Parked: r.parked, Group: "readers", Topics: []string{bus.Signed}, Batch: 50, Pause: func(int) time.Duration { return time.Millisecond },
		Handle: func(_ context.Context, records []bus.Record) []error {
			defer func() { r.came <- struct{}{} }()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.calls++
			errs := make([]error, len(records))
			for i, one := range records {
				if errs[i] = answer(r.calls, one); errs[i] == nil {
					r.given[one.Key]++
				}
			}
			return errs
		},
		Observe: func(bus.Consumed) { r.came <- struct{}{} },
	}
}

// check compares what was done and what is parked with the record of what was published: each once, each poison with its bytes.
func (r *reader) check(t *testing.T, n int, poison func(i int) bool, code string) {
	t.Helper()
	list, err := r.parked.List(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	parked := map[string]bus.ParkedRecord{}
	for _, p := range list {
		if parked[p.Key] = p; p.Code != code || p.Group != "readers" || p.Headers["n"] != string(p.Value) {
			t.Errorf("parked %+v; want the code %s", p, code)
		}
	}
	for i := range n {
		key := fmt.Sprintf("key-%03d", i)
		p, is := parked[key]
		if is != poison(i) || (r.given[key] == 0) != poison(i) || is && string(p.Value) != fmt.Sprint(i) {
			t.Errorf("%s: done %d times, parked %t with %q", key, r.given[key], is, p.Value)
		}
	}
}

// left joins the group anew and says what was not committed.
func (r *reader) left(t *testing.T) []string {
	t.Helper()
	m, err := r.bus.Join(t.Context(), "readers", bus.Signed)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := r.bus.Publish(t.Context(), []bus.Record{{Topic: bus.Signed, Key: "last"}}); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for !keys["last"] {
		some, err := m.Poll(within(t, time.Minute), 1000)
		if err != nil {
			t.Fatalf("%v came, then %v", keys, err)
		}
		for _, one := range some {
			keys[one.Key] = true
		}
		if err := m.Commit(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	delete(keys, "last")
	return slices.Sorted(maps.Keys(keys))
}

func tenth(i int) bool { return i%10 == 3 }

func poisoned(one bus.Record) bool { return len(one.Key) == 7 && one.Key[6] == '3' }

var errBytes = problem.New(problem.Invalid, "record-malformed", "it cannot be read")

// TestI18PoisonIsParkedAndHoldsUpNothing: unreadable records in the midst of good ones.
func TestI18PoisonIsParkedAndHoldsUpNothing(t *testing.T) {
	r := newReader(t, 200)
	r.run(t, 180, 20, func(_ int, one bus.Record) error {
		if poisoned(one) {
			return bus.Unusable(errBytes)
		}
		return nil
	})
	r.check(t, 200, tenth, "record-malformed")
	if left := r.left(t); len(left) > 0 {
		t.Errorf("not committed: %v", left)
	}
	if r.calls > 20 {
		t.Errorf("the handler was called %d times for 200 records", r.calls)
	}
}

// TestI18PanicsParkOneRecord: a handler that panics at some records, and one that fails at them for a reason of its own.
func TestI18PanicsParkOneRecord(t *testing.T) {
	for name, fail := range map[string]func() error{
		"handler-panicked": func() error { panic("at this one") },
		"internal":         func() error { return errors.New("a defect") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, 60)
			tried := map[string]int{}
			r.run(t, 54, 6, func(_ int, one bus.Record) error {
				if poisoned(one) {
					tried[one.Key]++
					return fail()
				}
				return nil
			})
			r.check(t, 60, tenth, name)
			for key, n := range tried {
				if n < 3 {
					t.Errorf("%s was parked after %d tries", key, n)
				}
			}
		})
	}
}

// TestI17ReplayedFromTheStart: all offsets set back to 0. What was parked is parked once, also when an operator has dealt with it.
func TestI17ReplayedFromTheStart(t *testing.T) {
	r := newReader(t, 100)
	answer := func(_ int, one bus.Record) error {
		if poisoned(one) {
			return bus.Unusable(errBytes)
		}
		return nil
	}
	r.run(t, 90, 10, answer)
	list, err := r.parked.List(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.parked.End(t.Context(), list[0].ID, bus.Dropped, "ana"); err != nil {
		t.Fatal(err)
	}
	if _, err := session(t, r.store.URL).Exec(t.Context(), "UPDATE bus_offsets SET done = 0"); err != nil {
		t.Fatal(err)
	}
	clear(r.given)
	r.run(t, 90, 9, answer)
	if n, err := r.parked.Count(t.Context()); err != nil || n != 9 || len(r.given) != 90 {
		t.Errorf("replayed, %d are parked (%v) and %d done; want 9 and 90", n, err, len(r.given))
	}
}

// TestErrorsOfTheInfrastructureAreWaitedOut: nothing is lost, skipped or parked while the database or the table of parked records
// is away.
func TestErrorsOfTheInfrastructureAreWaitedOut(t *testing.T) {
	r := newReader(t, 100)
	r.store.faults.Arm("parked.park.before", fault.Fail, 1)
	r.run(t, 90, 10, func(call int, one bus.Record) error {
		switch {
		case call <= 5 && one.Key[5] != '7':
			return fmt.Errorf("decide: %w", problem.New(problem.Unavailable, "storage-failed", "away"))
		case poisoned(one):
			return bus.Unusable(errBytes)
		}
		return nil
	})
	r.check(t, 100, tenth, "record-malformed")
	if left := r.left(t); len(left) > 0 {
		t.Errorf("not committed: %v", left)
	}
}

// TestAStopFinishesTheBatchInHand: when the process is told to stop, the batch in hand is handled and committed; nothing is read after.
func TestAStopFinishesTheBatchInHand(t *testing.T) {
	r := newReader(t, 100)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := r.consumer(func(int, bus.Record) error { return nil })
	handle := c.Handle
	c.Handle = func(ctx context.Context, records []bus.Record) []error {
		stop()
		if ctx.Err() != nil {
			t.Error("the batch in hand was cut off")
		}
		return handle(ctx, records)
	}
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if left := r.left(t); r.calls != 1 || len(left)+len(r.given) != 100 || len(left) == 0 {
		t.Errorf("after %d batches %d are done, and %d come again", r.calls, len(r.given), len(left))
	}
}

// TestAStopDoesNotWaitForTheInfrastructure: what cannot be handled when the process stops is given again to the next.
func TestAStopDoesNotWaitForTheInfrastructure(t *testing.T) {
	r := newReader(t, 10)
	ctx, stop := context.WithCancel(t.Context())
	c := r.consumer(func(call int, _ bus.Record) error {
		if call == 3 {
			stop()
		}
		return problem.New(problem.Unavailable, "storage-failed", "away")
	})
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if left := r.left(t); len(left) != 10 {
		t.Errorf("%d of 10 come again: %v", len(left), left)
	}
}

// Package eventtest is the conformance suite of the outbox port: what every Outbox must do, shown by committing on one side
// and reading on the other. It also has a Log, an outbox in memory, for tests of what follows one.
package eventtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
)

// Subject is what the suite tests, with what it needs from outside. Each test gets one of its own, in which no event is held.
type Subject struct {
	Outbox event.Outbox
	// Commit leaves n events in one transaction, each of a message that has none yet, and tells whose, in order. It may be
	// called concurrently.
	Commit func(ctx context.Context, n int) ([]message.ID, error)
	// Faults strikes the durable write of Commit, at the points of the name Write.
	Faults *fault.Points
	Write  string
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/events come in the order of commits":                  inOrder,
			"basic/a read gives at most what is asked for":               limited,
			"basic/a read waits for an event":                            waits,
			"basic/a read ends with its context":                         cancelled,
			"basic/what was trimmed is gone and its seq not reused":      trimmed,
			"basic/bounds of an outbox without events":                   empty,
			"concurrency/I16: readers beside many writers skip no event": concurrent,
			"transactions/I16: a commit that failed leaves no event":     failed,
			"faults/I16: a commit reported as failed leaves its event":   reportedFailed,
		},
	}.Run(t, open)
}

// patience bounds what must happen; nothing waits as long as that in a test that passes.
const patience = 20 * time.Second

func inOrder(t *testing.T, s Subject) {
	want := slices.Concat(s.commit(t, 1), s.commit(t, 3), s.commit(t, 2))
	events := s.read(t, 0, 100)
	if got := ids(events); !slices.Equal(got, want) {
		t.Fatalf("read %v, want %v", got, want)
	}
	grows(t, 0, events)
	for i, e := range events {
		if e.Attributes.Client == "" || e.Version < 1 || e.State == "" || e.Status == "" || e.Accepted.IsZero() || e.Updated.IsZero() {
			t.Errorf("event %d does not tell of its message: %+v", i, e)
		}
	}
	after := events[3].Seq
	if got := ids(s.read(t, after, 100)); !slices.Equal(got, want[4:]) {
		t.Errorf("after %d came %v, want %v", after, got, want[4:])
	}
}

func limited(t *testing.T, s Subject) {
	want := s.commit(t, 5)
	var got []message.ID
	after := int64(0)
	for range 3 {
		events := s.read(t, after, 2)
		if len(events) > 2 {
			t.Fatalf("asked for 2 events, got %d", len(events))
		}
		got, after = append(got, ids(events)...), events[len(events)-1].Seq
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

func waits(t *testing.T, s Subject) {
	after := s.last(t, s.commit(t, 1))
	got := make(chan []event.Event, 1)
	go func() {
		events, err := s.Outbox.Read(t.Context(), after, 10)
		if err != nil {
			t.Error(err)
		}
		got <- events
	}()
	want := s.commit(t, 1)
	select {
	case events := <-got:
		if !slices.Equal(ids(events), want) {
			t.Errorf("read %v, want %v", ids(events), want)
		}
	case <-time.After(patience):
		t.Error("the read still waits after the commit")
	}
}

func cancelled(t *testing.T, s Subject) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if events, err := s.Outbox.Read(ctx, 0, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read %v and %v, want the context's error", events, err)
	}
}

func trimmed(t *testing.T, s Subject) {
	s.commit(t, 3)
	events := s.read(t, 0, 10)
	s.trim(t, events[1].Seq)
	if got := ids(s.read(t, 0, 10)); !slices.Equal(got, ids(events[2:])) {
		t.Errorf("after the trim there are %v, want %v", got, ids(events[2:]))
	}
	s.bounds(t, events[2].Seq, events[2].Seq)
	last := events[2].Seq
	s.trim(t, last)
	s.trim(t, last) // again changes nothing
	s.bounds(t, last+1, last)
	want := s.commit(t, 1)
	after := s.read(t, 0, 10)
	grows(t, last, after)
	if got := ids(after); !slices.Equal(got, want) {
		t.Errorf("after everything was trimmed came %v, want %v", got, want)
	}
}

func empty(t *testing.T, s Subject) {
	first, last, err := s.Outbox.Bounds(t.Context())
	if err != nil || first != last+1 {
		t.Errorf("bounds are %d to %d (%v), want the first one above the last", first, last, err)
	}
}

const (
	writers = 8
	readers = 3
	commits = 25 // of each writer
	most    = 4  // events a commit
)

func concurrent(t *testing.T, s Subject) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	written := make([][]message.ID, writers)
	seen := make([][]event.Event, readers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for c := range commits {
				got, err := s.Commit(ctx, 1+c%most)
				if err != nil {
					t.Errorf("commit: %v", err)
				}
				written[w] = append(written[w], got...)
			}
		})
	}
	total := 0
	for c := range commits {
		total += writers * (1 + c%most)
	}
	for r := range readers {
		wg.Go(func() { seen[r] = s.follow(ctx, t, total, 1+r*7) })
	}
	wg.Wait()
	for r := range readers {
		grows(t, 0, seen[r])
		all := ids(seen[r])
		if len(all) != total || !slices.Equal(all, ids(seen[0])) {
			t.Fatalf("reader %d saw %d events of %d, or in another order than reader 0", r, len(all), total)
		}
	}
	for w, want := range written {
		got := slices.DeleteFunc(ids(seen[0]), func(id message.ID) bool { return !slices.Contains(want, id) })
		if !slices.Equal(got, want) {
			t.Errorf("writer %d committed %v, seen was %v", w, want, got)
		}
	}
}

// follow reads until it has seen so many events.
func (s Subject) follow(ctx context.Context, t *testing.T, total, limit int) (seen []event.Event) {
	after := int64(0)
	for len(seen) < total {
		events, err := s.Outbox.Read(ctx, after, limit)
		if err != nil {
			t.Errorf("after %d of %d events: %v", len(seen), total, err)
			return seen
		}
		seen, after = append(seen, events...), events[len(events)-1].Seq
	}
	return seen
}

func failed(t *testing.T, s Subject) {
	s.Faults.Arm(s.Write+".before", fault.Fail, 1)
	if _, err := s.Commit(t.Context(), 2); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("the commit answered %v, want the injected fault", err)
	}
	want := s.commit(t, 1)
	if got := ids(s.read(t, 0, 10)); !slices.Equal(got, want) {
		t.Errorf("read %v, want only %v", got, want)
	}
}

func reportedFailed(t *testing.T, s Subject) {
	s.Faults.Arm(s.Write+".after", fault.Fail, 1)
	if _, err := s.Commit(t.Context(), 2); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("the commit answered %v, want the injected fault", err)
	}
	if got := s.read(t, 0, 10); len(got) != 2 {
		t.Errorf("read %d events, want the 2 that were stored", len(got))
	}
}

func (s Subject) commit(t *testing.T, n int) []message.ID {
	t.Helper()
	got, err := s.Commit(t.Context(), n)
	if err != nil || len(got) != n {
		t.Fatalf("commit of %d: %v, %v", n, got, err)
	}
	return got
}

func (s Subject) read(t *testing.T, after int64, limit int) []event.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events, err := s.Outbox.Read(ctx, after, limit)
	if err != nil || len(events) == 0 {
		t.Fatalf("read after %d: %v, %v", after, events, err)
	}
	return events
}

// last is the seq of the newest event, which is that of the last id.
func (s Subject) last(t *testing.T, want []message.ID) int64 {
	t.Helper()
	events := s.read(t, 0, 100)
	if newest := events[len(events)-1]; newest.ID == want[len(want)-1] {
		return newest.Seq
	}
	t.Fatalf("the newest event is not of %v", want)
	return 0
}

func (s Subject) trim(t *testing.T, seq int64) {
	t.Helper()
	if err := s.Outbox.Trim(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
}

func (s Subject) bounds(t *testing.T, wantFirst, wantLast int64) {
	t.Helper()
	first, last, err := s.Outbox.Bounds(t.Context())
	if err != nil || first != wantFirst || last != wantLast {
		t.Errorf("bounds are %d to %d (%v), want %d to %d", first, last, err, wantFirst, wantLast)
	}
}

// grows checks that each seq is above the one before it.
func grows(t *testing.T, after int64, events []event.Event) {
	t.Helper()
	for _, e := range events {
		if e.Seq <= after {
			t.Fatalf("seq %d comes after %d", e.Seq, after)
		}
		after = e.Seq
	}
}

func ids(events []event.Event) []message.ID {
	out := make([]message.ID, len(events))
	for i := range events {
		out[i] = events[i].ID
	}
	return out
}

// Package feedertest is the conformance suite of feeder.Feeder and feeder.Nudges. Every backend runs it whole.
package feedertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
)

// Backend is one instance under test: a feeder with its nudges, and the store whose commits feed it.
type Backend struct {
	Feeder feeder.Feeder
	Nudges feeder.Nudges
	Store  guarantee.Store
	// Advance moves the clock that due times are compared with.
	Advance func(time.Duration)
	// Reopen ends this instance as a crash would and opens the same data again.
	Reopen func(t *testing.T) Backend
	// Beside gives the nudges of another process on the same data; nil where there is none.
	Beside func(t *testing.T) feeder.Nudges
	// Alone says that there is no other process, ever.
	Alone bool
}

// Run checks all of the contract against fresh instances from open. Their clock stands at Start.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	t.Helper()
	conform.Suite[Backend]{
		Cases: map[string]func(*testing.T, Backend){
			"basic/AcceptedIsDue":                      acceptedIsDue,
			"basic/WaitingIsDueLater":                  waitingIsDueLater,
			"transactions/ARefusedMoveMakesNothingDue": refusedMakesNothingDue,
			"transactions/EndedIsNotDue":               endedIsNotDue,
			"basic/Depth":                              depth,
			"basic/ClaimWaits":                         claimWaits,
			"concurrency/ClaimedOnce":                  claimedOnce,
			"faults/UnsettledComesBack":                unsettledComesBack,
			"faults/SettledWhileStillDue":              settledWhileStillDue,
			"faults/ClaimEndsWithItsCtx":               claimEndsWithItsCtx,
			"concurrency/NoneIsForgotten":              noneIsForgotten,
			"basic/EarliestFirst":                      earliestFirst,
			"basic/ResumedIsDueAgainAtOnce":            resumedIsDue,
			"basic/NudgedIsDue":                        nudgedIsDue,
			"basic/ClaimedIsNotNudged":                 claimedIsNotNudged,
			"basic/EndedIsNotNudged":                   whatDoesNotWaitIsNotNudged,
			"concurrency/OthersHear":                   othersHear,
		},
		Parallel: true,
	}.Run(t, open)
}

// Start is the time at which the suite's clock begins.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// source is what gives ids: a feeder's Claim, a table's Hand.
type source func(ctx context.Context, limit int) ([]message.ID, error)

func (s source) give(t *testing.T, limit int) []message.ID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ids, err := s(ctx, limit)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// empty checks that nothing is given now.
func (s source) empty(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if ids, err := s(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("given %v, %v; want nothing", ids, err)
	}
}

func claim(t *testing.T, f feeder.Feeder, limit int) []message.ID {
	t.Helper()
	return source(f.Claim).give(t, limit)
}

// none checks that nothing can be claimed now.
func none(t *testing.T, f feeder.Feeder) {
	t.Helper()
	source(f.Claim).empty(t)
}

func settle(t *testing.T, f feeder.Feeder, ids ...message.ID) {
	t.Helper()
	if err := f.Settle(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, s guarantee.Store, tr guarantee.Transition) {
	t.Helper()
	refused, err := s.Commit(t.Context(), []guarantee.Transition{tr})
	if err != nil || refused[0] != nil {
		t.Fatal(err, refused)
	}
}

// waits gives a message that waits for a minute. It was claimed before, so that no record of it lies on a bus too early.
func waits(t *testing.T, b Backend) guarantee.Record {
	t.Helper()
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	claim(t, b.Feeder, 10)
	commit(t, b.Store, guaranteetest.Step(rec, "Wait", guarantee.Waiting))
	settle(t, b.Feeder, rec.ID)
	none(t, b.Feeder)
	return rec
}

func acceptedIsDue(t *testing.T, b Backend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	if ids := claim(t, b.Feeder, 10); len(ids) != 1 || ids[0] != rec.ID {
		t.Fatalf("claimed %v, want %s", ids, rec.ID)
	}
	none(t, b.Feeder)
	settle(t, b.Feeder, rec.ID)
	claim(t, b.Feeder, 10)
}

func waitingIsDueLater(t *testing.T, b Backend) {
	rec := waits(t, b)
	b.Advance(time.Minute + time.Second)
	commit(t, b.Store, guaranteetest.Step(guaranteetest.Accept(t, b.Store, "cli_a", "wakes the feeder"), "Done", guarantee.Succeeded))
	if ids := claim(t, b.Feeder, 10); len(ids) != 1 || ids[0] != rec.ID {
		t.Fatalf("claimed %v, want %s", ids, rec.ID)
	}
}

func endedIsNotDue(t *testing.T, b Backend) {
	for _, status := range []guarantee.Status{guarantee.Succeeded, guarantee.Failed, guarantee.Parked} {
		rec := guaranteetest.Accept(t, b.Store, "cli_a", string(status))
		settle(t, b.Feeder, claim(t, b.Feeder, 10)...)
		commit(t, b.Store, guaranteetest.Step(rec, "End", status))
		none(t, b.Feeder)
	}
}

// refusedMakesNothingDue: what is due changes with the message, or not at all.
func refusedMakesNothingDue(t *testing.T, b Backend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	settle(t, b.Feeder, claim(t, b.Feeder, 10)...)
	commit(t, b.Store, guaranteetest.Step(rec, "Wait", guarantee.Waiting)) // due after a minute
	late := guaranteetest.Step(rec, "Go", guarantee.Running)               // from a version that is not there any more
	late.Due = Start
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{late})
	if err != nil || refused[0] == nil {
		t.Fatalf("a move from an old version: %v, %v", refused, err)
	}
	none(t, b.Feeder)
}

func resumedIsDue(t *testing.T, b Backend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	settle(t, b.Feeder, claim(t, b.Feeder, 10)...)
	commit(t, b.Store, guaranteetest.Step(rec, "Stuck", guarantee.Parked))
	rec.Version++
	resume := guaranteetest.Step(rec, "Stuck", guarantee.Running)
	resume.Due = Start
	commit(t, b.Store, resume)
	if ids := claim(t, b.Feeder, 10); len(ids) != 1 {
		t.Fatalf("claimed %v after resuming", ids)
	}
}

func depth(t *testing.T, b Backend) {
	d, err := b.Feeder.Depth(t.Context())
	if err != nil || d.Due != 0 || !d.Oldest.IsZero() {
		t.Fatalf("the empty feeder has depth %+v, %v", d, err)
	}
	for i := range 3 {
		guaranteetest.Accept(t, b.Store, "cli_a", fmt.Sprint(i))
	}
	d, err = b.Feeder.Depth(t.Context())
	if err != nil || d.Due != 3 || !d.Oldest.Equal(Start) {
		t.Fatalf("depth %+v, %v; want 3 since %s", d, err, Start)
	}
}

func claimWaits(t *testing.T, b Backend) {
	got := make(chan []message.ID)
	go func() {
		ids, _ := b.Feeder.Claim(t.Context(), 10)
		got <- ids
	}()
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	if ids := <-got; len(ids) != 1 || ids[0] != rec.ID {
		t.Fatalf("the waiting claim got %v", ids)
	}
}

func earliestFirst(t *testing.T, b Backend) {
	late := waits(t, b)
	early := guaranteetest.Accept(t, b.Store, "cli_a", "early")
	b.Advance(time.Hour)
	claimed := append(claim(t, b.Feeder, 1), claim(t, b.Feeder, 1)...)
	if want := []message.ID{early.ID, late.ID}; !slices.Equal(claimed, want) {
		t.Fatalf("claimed %v, want %v", claimed, want)
	}
}

func claimedOnce(t *testing.T, b Backend) {
	const n = 200
	for i := range n {
		guaranteetest.Accept(t, b.Store, "cli_a", fmt.Sprint(i))
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	seen := map[message.ID]int{}
	for range 8 {
		group.Go(func() {
			for {
				mu.Lock()
				finished := len(seen) == n
				mu.Unlock()
				if finished {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				ids, _ := b.Feeder.Claim(ctx, 7)
				cancel()
				mu.Lock()
				for _, id := range ids {
					seen[id]++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s was handed out %d times before it was settled", id, times)
		}
	}
}

func unsettledComesBack(t *testing.T, b Backend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	claim(t, b.Feeder, 10)
	b = b.Reopen(t)
	if ids := claim(t, b.Feeder, 10); len(ids) != 1 || ids[0] != rec.ID {
		t.Fatalf("after a crash %v was handed out, want %s", ids, rec.ID)
	}
}

func settledWhileStillDue(t *testing.T, b Backend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	for range 3 { // a worker that gives up without a commit
		ids := claim(t, b.Feeder, 10)
		if len(ids) != 1 || ids[0] != rec.ID {
			t.Fatalf("claimed %v, want %s", ids, rec.ID)
		}
		settle(t, b.Feeder, ids...)
	}
}

func claimEndsWithItsCtx(t *testing.T, b Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Feeder.Claim(ctx, 1); err == nil {
		t.Fatal("Claim went on without its context")
	}
}

func noneIsForgotten(t *testing.T, b Backend) {
	const n = 100
	var group sync.WaitGroup
	group.Go(func() {
		for i := range n {
			guaranteetest.Accept(t, b.Store, "cli_a", fmt.Sprint(i))
		}
	})
	seen := map[message.ID]bool{}
	for len(seen) < n {
		ids := claim(t, b.Feeder, 9)
		for _, id := range ids {
			seen[id] = true
		}
		recs, err := b.Store.Load(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recs {
			commit(t, b.Store, guaranteetest.Step(rec, "Done", guarantee.Succeeded))
		}
		settle(t, b.Feeder, ids...)
	}
	group.Wait()
	none(t, b.Feeder)
}

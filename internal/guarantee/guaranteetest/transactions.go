package guaranteetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
)

func staleIsRefused(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	commit(t, b.Store, Step(rec, "Next", guarantee.Running))
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(rec, "Elsewhere", guarantee.Running)})
	must(t, err)
	want(t, refused[0], guarantee.ErrStale)
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if got.State != "Next" || len(history) != 2 {
		t.Errorf("I4: the refused transition left %+v with %d entries", got, len(history))
	}
}

func finalIsFinal(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	commit(t, b.Store, Step(rec, "Refused", guarantee.Failed)) // terminal, not archived
	rec.Version = 2
	for range 2 {
		refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(rec, "Again", guarantee.Running)})
		must(t, err)
		want(t, refused[0], guarantee.ErrFinal)
	}
	other := Accept(t, b.Store, "cli_a", "archived")
	finish(t, b.Store, other)
	other.Version = 2
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(other, "Again", guarantee.Running)})
	must(t, err)
	want(t, refused[0], guarantee.ErrFinal)
}

func refusedAlone(t *testing.T, b Backend) {
	one, two := Accept(t, b.Store, "cli_a", "one"), Accept(t, b.Store, "cli_a", "two")
	stale := Step(one, "Next", guarantee.Running)
	stale.From = 7
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{stale, Step(two, "Next", guarantee.Running)})
	must(t, err)
	want(t, refused[0], guarantee.ErrStale)
	must(t, refused[1])
	got, _, err := b.Store.Get(t.Context(), two.ID)
	must(t, err)
	if got.State != "Next" {
		t.Errorf("a refused neighbour held %+v up", got)
	}
}

func postpone(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	commit(t, b.Store, Step(rec, "Confirm", guarantee.Waiting))
	later := clock.Add(time.Hour)
	commit(t, b.Store, guarantee.Transition{ID: rec.ID, From: 2, State: "Confirm", Status: guarantee.Waiting, Due: later})
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if !got.Due.Equal(later) || got.Version != 2 || len(history) != 2 {
		t.Errorf("postponed: %+v with %d entries", got, len(history))
	}
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{{ID: rec.ID, From: 1, Status: guarantee.Waiting, Due: clock}})
	must(t, err)
	want(t, refused[0], guarantee.ErrStale)
}

func oneAcceptance(t *testing.T, b Backend) {
	id := Issue(t, b.Store, "cli_a")
	var first, same, reused atomic.Int64
	together(100, func(i int) {
		text := "one"
		if i%2 == 1 {
			text = "two"
		}
		_, created, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_a", text), clock)
		switch {
		case err == nil && created:
			first.Add(1)
		case err == nil:
			same.Add(1)
		case errors.Is(err, guarantee.ErrReused):
			reused.Add(1)
		default:
			t.Error(err)
		}
	})
	if first.Load() != 1 || same.Load() != 49 || reused.Load() != 50 {
		t.Errorf("I2: of 100 submissions %d were first, %d the same, %d refused; want 1, 49, 50", first.Load(), same.Load(), reused.Load())
	}
}

func oneSwapWins(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	var won atomic.Int64
	together(32, func(int) {
		refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(rec, "Next", guarantee.Running)})
		if err != nil {
			t.Error(err)
			return
		}
		if refused[0] == nil {
			won.Add(1)
		}
	})
	if won.Load() != 1 {
		t.Errorf("I4: %d of 32 transitions from one version were applied", won.Load())
	}
}

// Each durable write, failed: the caller is told, and nothing of it is there afterwards.
func failedIsNotStored(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	id := Issue(t, b.Store, "cli_a")
	arm := func(name string) { b.Faults.Arm(name+".before", fault.Fail, 1) }

	arm("guarantee.issue")
	lost := Acceptance("msg_00000000000000000000000000", "cli_a", "x")
	if err := b.Store.Issue(t.Context(), []guarantee.Issued{{ID: lost.ID, Client: "cli_a", Expires: clock.Add(time.Hour)}}); err == nil {
		t.Error("a failed Issue was reported as done")
	}
	arm("guarantee.accept")
	if _, _, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), clock); err == nil {
		t.Error("a failed Accept was reported as done")
	}
	arm("guarantee.commit")
	if _, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(rec, "Next", guarantee.Running)}); err == nil {
		t.Error("a failed Commit was reported as done")
	}
	b = b.Reopen(t)
	_, _, err := b.Store.Accept(t.Context(), lost, clock)
	want(t, err, guarantee.ErrUnknown)
	_, _, err = b.Store.Get(t.Context(), id)
	want(t, err, guarantee.ErrUnknown)
	got, _, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if got.Version != 1 {
		t.Errorf("a failed Commit left %+v", got)
	}
	_, created, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), clock)
	must(t, err)
	if !created {
		t.Error("the id was used up by a failed Accept")
	}
}

// Each durable write, persisted and reported as failed: asking again finds what is there and changes nothing.
func reportedFailedPersisted(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	id := Issue(t, b.Store, "cli_a")
	arm := func(name string) { b.Faults.Arm(name+".after", fault.Fail, 1) }

	arm("guarantee.accept")
	if _, _, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), clock); err == nil {
		t.Error("the injected failure was not reported")
	}
	arm("guarantee.commit")
	if _, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(rec, "Next", guarantee.Running)}); err == nil {
		t.Error("the injected failure was not reported")
	}
	b = b.Reopen(t)
	_, created, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), clock)
	must(t, err)
	if created {
		t.Error("I2: accepted twice")
	}
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{Step(rec, "Next", guarantee.Running)})
	must(t, err)
	want(t, refused[0], guarantee.ErrStale)
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if got.Version != 2 || len(history) != 2 {
		t.Errorf("I4: applied twice: %+v with %d entries", got, len(history))
	}
}

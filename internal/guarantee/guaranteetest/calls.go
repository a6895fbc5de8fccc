package guaranteetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// waits brings a message to a Task that waits for answers to n calls until an hour has passed.
func waits(t *testing.T, b Backend, n int) guarantee.Record {
	t.Helper()
	rec := Accept(t, b.Store, "cli_a", "hello")
	tr := Step(rec, "Ask", guarantee.Waiting)
	tr.Due, tr.Awaits = clock.Add(time.Hour), true
	for i := range n {
		tr.Open = append(tr.Open, guarantee.Call{Number: i + 1, State: "Ask", Until: tr.Due, Heartbeat: time.Minute})
	}
	commit(t, b.Store, tr)
	rec.Version, rec.State = 2, "Ask"
	return rec
}

func paid(n int) guarantee.Answer {
	return guarantee.Answer{Output: json.RawMessage(fmt.Sprintf(`{"paid":%d}`, n)), By: "bank"}
}

// ends is the transition that closes the first call, having seen so much of it.
func ends(rec guarantee.Record, seen int64) guarantee.Transition {
	tr := Step(rec, "Next", guarantee.Waiting)
	tr.Close = []guarantee.Closing{{Number: 1, Seen: seen}}
	return tr
}

func heard(t *testing.T, b Backend, id message.ID) []guarantee.Call {
	t.Helper()
	calls, err := b.Calls.Heard(t.Context(), []message.ID{message.NewID(), id})
	must(t, err)
	return calls[id]
}

func callIsAnswered(t *testing.T, b Backend) {
	rec := waits(t, b, 2)
	if calls := heard(t, b, rec.ID); len(calls) != 0 {
		t.Errorf("before anything came in: %+v", calls)
	}
	open, err := b.Calls.Open(t.Context(), rec.ID)
	must(t, err)
	if len(open) != 2 || open[0].Number != 1 || open[0].State != "Ask" || !open[0].Until.Equal(clock.Add(time.Hour)) || open[0].Heartbeat != time.Minute || !open[0].Opened.Equal(clock.Add(time.Second)) {
		t.Errorf("open: %+v", open)
	}
	answer := func(a guarantee.Answer) error { return b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", a, clock) }
	must(t, answer(paid(1)))
	b = b.Reopen(t)
	calls := heard(t, b, rec.ID)
	if len(calls) != 1 || calls[0].Number != 1 || calls[0].Answer == nil || string(calls[0].Answer.Output) != `{"paid":1}` || calls[0].Answer.By != "bank" {
		t.Fatalf("answered: %+v", calls)
	}
	again := paid(1)
	again.By = "another"
	must(t, answer(again)) // the same answer again changes nothing
	want(t, answer(paid(2)), guarantee.ErrTaskAnswered)
	want(t, answer(guarantee.Answer{Failed: true}), guarantee.ErrTaskAnswered)
	want(t, b.Calls.Beat(t.Context(), rec.ID, 1, "Ask", clock), guarantee.ErrTaskAnswered)
	commit(t, b.Store, ends(rec, calls[0].Heard))
	if calls := heard(t, b, rec.ID); len(calls) != 0 {
		t.Errorf("taken, and still there: %+v", calls)
	}
	must(t, answer(paid(1)))
	want(t, answer(paid(2)), guarantee.ErrTaskAnswered)
	rec.Version = 3
	finish(t, b.Store, rec)
	must(t, answer(paid(1))) // at any time
	want(t, answer(paid(2)), guarantee.ErrTaskAnswered)
}

func callIsHeardOf(t *testing.T, b Backend) {
	rec := waits(t, b, 1)
	for _, after := range []time.Duration{time.Minute, 2 * time.Minute, time.Second} { // the last one was overtaken
		must(t, b.Calls.Beat(t.Context(), rec.ID, 1, "Ask", clock.Add(after)))
	}
	b = b.Reopen(t)
	calls := heard(t, b, rec.ID)
	if len(calls) != 1 || !calls[0].Beat.Equal(clock.Add(2*time.Minute)) || calls[0].Heard != 3 || calls[0].Answer != nil {
		t.Fatalf("heard: %+v", calls)
	}
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if got.Version != 2 || len(history) != 2 || !got.Due.Equal(clock.Add(time.Hour)) {
		t.Errorf("heartbeats changed the message: %+v", got)
	}
	must(t, b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(1), clock))
}

func callIsOver(t *testing.T, b Backend) {
	rec := waits(t, b, 1)
	commit(t, b.Store, ends(rec, 0))
	want(t, b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(1), clock), guarantee.ErrTaskOver)
	want(t, b.Calls.Beat(t.Context(), rec.ID, 1, "Ask", clock), guarantee.ErrTaskOver)
	open, err := b.Calls.Open(t.Context(), rec.ID)
	must(t, err)
	if len(open) != 0 {
		t.Errorf("over, and open: %+v", open)
	}
}

func callIsUnknown(t *testing.T, b Backend) {
	rec := waits(t, b, 1)
	for _, c := range []struct {
		id     message.ID
		number int
		state  string
	}{{message.NewID(), 1, "Ask"}, {rec.ID, 2, "Ask"}, {rec.ID, 1, "Elsewhere"}} {
		want(t, b.Calls.Answer(t.Context(), c.id, c.number, c.state, paid(1), clock), guarantee.ErrTaskUnknown)
		want(t, b.Calls.Beat(t.Context(), c.id, c.number, c.state, clock), guarantee.ErrTaskUnknown)
	}
}

// An answer makes its message due, whether it comes before or after the commit that lets the message wait.
func answerMakesDue(t *testing.T, b Backend) {
	at := clock.Add(time.Minute)
	due := func(id message.ID) time.Time {
		rec, _, err := b.Store.Get(t.Context(), id)
		must(t, err)
		return rec.Due
	}
	rec := waits(t, b, 2)
	must(t, b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(1), at))
	if got := due(rec.ID); !got.Equal(at) {
		t.Errorf("answered while it waited, it is due at %s", got)
	}
	hand := Step(rec, "Ask", guarantee.Waiting) // decided while it was in hand, before the answer came
	hand.Due, hand.Awaits = clock.Add(time.Hour), true
	commit(t, b.Store, hand)
	if got := due(rec.ID); !got.Equal(at) {
		t.Errorf("answered while it was in hand, it is due at %s", got)
	}
	rec.Version = 3
	commit(t, b.Store, guarantee.Transition{ID: rec.ID, From: 3, State: "Ask", Status: guarantee.Waiting, Due: clock.Add(time.Hour), Awaits: true})
	if got := due(rec.ID); !got.Equal(at) {
		t.Errorf("postponed with an answer, it is due at %s", got)
	}
	taken := ends(rec, 1)
	taken.Due, taken.Awaits = clock.Add(time.Hour), true
	commit(t, b.Store, taken)
	if got := due(rec.ID); !got.Equal(clock.Add(time.Hour)) {
		t.Errorf("with the answer taken, it is due at %s", got)
	}
	rec.Version = 4
	park := Step(rec, "Ask", guarantee.Parked)
	commit(t, b.Store, park)
	must(t, b.Calls.Answer(t.Context(), rec.ID, 2, "Ask", paid(1), at))
	if got := due(rec.ID); !got.IsZero() {
		t.Errorf("parked and answered, it is due at %s", got)
	}
}

// A commit that ends a call without having seen what came in is refused and changes nothing.
func unseenAnswer(t *testing.T, b Backend) {
	rec := waits(t, b, 1)
	other := Accept(t, b.Store, "cli_a", "other")
	must(t, b.Calls.Beat(t.Context(), rec.ID, 1, "Ask", clock))
	for seen := range int64(2) {
		if seen == 1 {
			must(t, b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(1), clock))
		}
		refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{ends(rec, seen), Step(other, "Next", guarantee.Running)})
		must(t, err)
		want(t, refused[0], guarantee.ErrStale)
		must(t, refused[1])
		other.Version++
	}
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if got.Version != 2 || len(history) != 2 || got.State != "Ask" {
		t.Errorf("the refused transition left %+v", got)
	}
	commit(t, b.Store, ends(rec, 2))
}

// Of an answer and a timeout at once, one wins.
func answerOrTimeout(t *testing.T, b Backend) {
	answers := 0
	for range 50 {
		rec := waits(t, b, 1)
		var answered, timedOut atomic.Bool
		together(2, func(i int) {
			if i == 0 {
				err := b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(1), clock)
				answered.Store(err == nil)
				if err != nil && !errors.Is(err, guarantee.ErrTaskOver) {
					t.Error(err)
				}
				return
			}
			refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{ends(rec, 0)})
			if err != nil || refused[0] != nil && !errors.Is(refused[0], guarantee.ErrStale) {
				t.Error(refused, err)
				return
			}
			timedOut.Store(refused[0] == nil)
		})
		if answered.Load() == timedOut.Load() {
			t.Fatalf("answered: %v, timed out: %v", answered.Load(), timedOut.Load())
		}
		if answered.Load() {
			answers++
		}
		if calls := heard(t, b, rec.ID); (len(calls) == 1) != answered.Load() {
			t.Fatalf("answered: %v, and stored is %+v", answered.Load(), calls)
		}
	}
	t.Logf("of 50, %d were answered", answers)
}

func oneAnswer(t *testing.T, b Backend) {
	rec := waits(t, b, 1)
	var took, refused atomic.Int64
	together(20, func(i int) {
		switch err := b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(i), clock); {
		case err == nil:
			took.Add(1)
		case errors.Is(err, guarantee.ErrTaskAnswered):
			refused.Add(1)
		default:
			t.Error(err)
		}
	})
	if took.Load() != 1 || refused.Load() != 19 {
		t.Errorf("of 20 answers %d were taken and %d refused", took.Load(), refused.Load())
	}
}

// A write that failed left nothing; one that was reported as failed and is there is found when it is asked again.
func answerFailed(t *testing.T, b Backend) {
	rec := waits(t, b, 1)
	answer := func() error { return b.Calls.Answer(t.Context(), rec.ID, 1, "Ask", paid(1), clock) }
	beat := func() error { return b.Calls.Beat(t.Context(), rec.ID, 1, "Ask", clock) }
	for _, w := range []struct {
		point string
		write func() error
		heard []int
	}{{"guarantee.beat", beat, []int{0, 1}}, {"guarantee.answer", answer, []int{1, 2}}} {
		for i, side := range []string{".before", ".after"} {
			b.Faults.Arm(w.point+side, fault.Fail, 1)
			if w.write() == nil {
				t.Errorf("%s%s was reported as done", w.point, side)
			}
			b = b.Reopen(t)
			calls := heard(t, b, rec.ID)
			if got := len(calls) > 0 && calls[0].Heard == int64(w.heard[i]); got != (w.heard[i] > 0) {
				t.Errorf("after %s%s: %+v", w.point, side, calls)
			}
		}
	}
	must(t, answer())
}

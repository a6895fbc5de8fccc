package controller_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// What is taken in hand, for how long, and what that must not do to others.

// TestWhatIsParkedAfterItWasClaimedStaysParked: the operator's word stands, also between Claim and Load.
func TestWhatIsParkedAfterItWasClaimedStaysParked(t *testing.T) {
	var ran atomic.Bool
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(context.Context, step.Task) (any, error) {
		ran.Store(true)
		return nil, nil
	}))
	held, loads := make(chan error, 1), 0
	e.loading = func(ids []message.ID) {
		if loads++; loads == 1 {
			held <- e.service.Park(context.Background(), ids[0], "ann", "look at it")
		}
	}
	id := e.accept()
	if err := wait(t, held); err != nil {
		t.Fatal(err)
	}
	wait(t, e.idle())
	if rec, _ := e.events(id); rec.Status != guarantee.Parked || ran.Load() {
		t.Errorf("parked by an operator, and then: %s in %s, effect ran: %v", rec.Status, rec.State, ran.Load())
	}
	if err := e.service.Resume(t.Context(), id, "ann"); err != nil {
		t.Fatal(err)
	}
	wait(t, e.ended)
}

// idle is signalled when nothing is in hand. Nothing tells of that, so it is looked at.
func (e *engine) idle() <-chan struct{} {
	idle := make(chan struct{})
	go func() {
		for tick := time.NewTicker(time.Millisecond); e.control.InHand() > 0; <-tick.C {
			continue
		}
		close(idle)
	}()
	return idle
}

// TestNothingInHandIsCountedAsNothing: the slots that the next claim has reserved are not messages.
func TestNothingInHandIsCountedAsNothing(t *testing.T) {
	block := make(chan struct{})
	begun := make(chan struct{}, 3)
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(context.Context, step.Task) (any, error) {
		begun <- struct{}{}
		<-block
		return nil, nil
	}))
	for range 3 {
		e.accept()
	}
	for range 3 {
		wait(t, begun)
	}
	if n := e.control.InHand(); n != 3 {
		t.Errorf("%d are in hand; want 3", n)
	}
	close(block)
	for range 3 {
		wait(t, e.ended)
	}
	wait(t, e.idle())
}

// TestADefinitionThatCannotBeReadNowParksNobody: a read that failed is no fault of the message.
func TestADefinitionThatCannotBeReadNowParksNobody(t *testing.T) {
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(context.Context, step.Task) (any, error) { return nil, nil }))
	older, err := machine.Load("note.v1", []byte("QueryLanguage: CEL"+effectThenArchive+"Comment: an older one\n"), e.actions.Effect)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.store.Put(t.Context(), older.Ref(), older.Source); err != nil {
		t.Fatal(err)
	}
	var fails atomic.Int32
	e.reading = func(string) error {
		if fails.Add(1) <= 2 {
			return errors.New("the disk does not answer")
		}
		return nil
	}
	id := e.acceptFor(older.Ref())
	select {
	case rec := <-e.ended:
		if rec.ID != id || rec.Workflow != older.Ref() || fails.Load() != 3 {
			t.Errorf("%s ended on %s after %d reads", rec.ID, rec.Workflow, fails.Load())
		}
	case <-e.parked:
		rec, _ := e.events(id)
		t.Errorf("it was parked: %s", rec.Reason)
	}
}

const hurried = `
StartAt: Slow
States:
  Slow:
    Type: Task
    Resource: slow
    TimeoutSeconds: 1
    Catch: [{ErrorEquals: [States.Timeout], Next: Late}, {ErrorEquals: [States.ALL], Next: Other}]
    End: true
  Late: {Type: Fail, Error: late}
  Other: {Type: Fail, Error: other}
`

func TestAnActionThatIsCutOffAtItsDeadlineTimesOut(t *testing.T) {
	e := newEngine(t, hurried, effect("slow", func(ctx context.Context, _ step.Task) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	e.accept()
	if rec := wait(t, e.ended); rec.State != "Late" {
		t.Errorf("it ended in %s: %s", rec.State, rec.Reason)
	}
}

// TestAnActionThatWithdrawsSaysThatItsTimeIsOver: it is not cut off, but asked again when its time is over, until it
// says so, or succeeds all the same.
func TestAnActionThatWithdrawsSaysThatItsTimeIsOver(t *testing.T) {
	for ends, how := range map[string]error{"Late": problem.New(problem.Unavailable, "States.Timeout", "it is withdrawn"), "archived": nil} {
		var over atomic.Bool
		e := newEngine(t, hurried, step.Action{Name: "slow", Effect: true, Withdraws: true, Run: func(ctx context.Context, tasks []step.Task) []step.Outcome {
			switch {
			case !tasks[0].Overdue:
				return []step.Outcome{{Later: 10 * time.Millisecond}}
			case !over.Swap(true):
				return []step.Outcome{{Later: 10 * time.Millisecond, Note: "not yet"}}
			case ctx.Err() != nil:
				t.Error("it is asked with no time left")
			}
			return []step.Outcome{{Err: how}}
		}})
		e.accept()
		if rec := wait(t, e.ended); (rec.State == "Late") != (how != nil) || !over.Load() {
			t.Errorf("it ended in %s: %s; want %s", rec.State, rec.Reason, ends)
		}
	}
}

// TestALongPauseIsSpentInGuarantee: a message that wants to be asked again much later is not kept in hand, where no operator
// reaches it.
func TestALongPauseIsSpentInGuarantee(t *testing.T) {
	var asked atomic.Int32
	e := newEngine(t, effectThenArchive, pure("check"), step.Action{Name: "do", Effect: true, Run: func(context.Context, []step.Task) []step.Outcome {
		if asked.Add(1) == 1 {
			return []step.Outcome{{Later: time.Hour, Note: "in an hour"}}
		}
		return make([]step.Outcome, 1)
	}})
	id := e.accept()
	for asked.Load() == 0 {
		wait(t, time.After(time.Millisecond))
	}
	wait(t, e.idle())
	if rec, _ := e.events(id); rec.Status != guarantee.Waiting {
		t.Errorf("an hour before it goes on it is %s", rec.Status)
	}
	if err := errors.Join(e.service.Park(t.Context(), id, "ann", "not in an hour"), e.service.Resume(t.Context(), id, "ann")); err != nil {
		t.Fatal(err)
	}
	wait(t, e.ended)
}

const patient = `
StartAt: Sleep
States:
  Sleep: {Type: Wait, Seconds: 3600, Next: Check}
  Check: {Type: Task, Resource: check, End: true}
`

// TestAWaitThatIsResumedWaitsOn: and does not spin until its time has come.
func TestAWaitThatIsResumedWaitsOn(t *testing.T) {
	e := newEngine(t, patient, pure("check"))
	id := e.accept()
	e.until(id, guarantee.Waiting)
	if err := errors.Join(e.service.Park(t.Context(), id, "ann", "not yet"), e.service.Resume(t.Context(), id, "ann")); err != nil {
		t.Fatal(err)
	}
	e.until(id, guarantee.Waiting)
	wait(t, e.idle())
	if rec, _ := e.events(id); time.Until(rec.Due) < 50*time.Minute {
		t.Errorf("it goes on at %s", rec.Due)
	}
}

// until waits for a message to have a status.
func (e *engine) until(id message.ID, want guarantee.Status) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 20*time.Second)
	defer cancel()
	for seq := int64(0); ; {
		events, err := sqlite.NewOutbox(e.db).Read(ctx, seq, 100)
		if err != nil {
			rec, _ := e.events(id)
			e.t.Fatalf("it never was %s: it is %s, due at %s: %v", want, rec.Status, rec.Due, err)
		}
		status := guarantee.Status("")
		for _, event := range events {
			if seq = event.Seq; event.ID == id {
				status = event.Status
			}
		}
		if status == want {
			return
		}
	}
}

// circle counts its rounds, as the loader asks, and never has enough of them.
const circle = `
StartAt: Zero
States:
  Zero: {Type: Pass, Assign: {rounds: 0}, Next: One}
  One: {Type: Task, Resource: check, Assign: {rounds: "{% vars.rounds + 1 %}"}, Next: Two}
  Two: {Type: Choice, Choices: [{Condition: "{% vars.rounds < 0 %}", Next: End}], Default: One}
  End: {Type: Succeed}
`

// TestI18ACircleOfStepsWithoutEffectIsParked: it would hold up its turn for ever, and gather history until the memory is full.
func TestI18ACircleOfStepsWithoutEffectIsParked(t *testing.T) {
	e := newEngine(t, circle, pure("check"))
	id := e.accept()
	wait(t, e.parked)
	rec, history, err := e.store.Get(t.Context(), id)
	if err != nil || rec.Status != guarantee.Parked || len(history) > 2*machine.MaxChain {
		t.Errorf("after %d steps it is %s, %v", len(history), rec.Status, err)
	}
}

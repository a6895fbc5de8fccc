package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/problem"
)

// Tasks that wait for an answer to their token.

const asking = `
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: ask.waitForTaskToken
    Arguments: {token: "{% states.context.Task.Token %}"}
    TimeoutSeconds: 3600
    HeartbeatSeconds: 60
    Assign: {answer: "{% states.result %}"}
    Retry: [{ErrorEquals: [again], IntervalSeconds: 1, MaxAttempts: 1}]
    Catch: [{ErrorEquals: [States.HeartbeatTimeout], Next: Silent}, {ErrorEquals: [States.Timeout], Next: Late}, {ErrorEquals: [declined], Next: No}, {ErrorEquals: [States.ALL], Next: Hold}]
    Next: Keep
  Hold: {Type: Task, Resource: park, Next: Ask}
  Keep: {Type: Task, Resource: archive, End: true}
  Silent: {Type: Fail, Error: silent}
  Late: {Type: Fail, Error: late}
  No: {Type: Fail, Error: "no"}
`

// asker hands tokens out to the test, and repeats them in its result, where nobody may see them.
func asker(tokens chan string) step.Action {
	return asks(func(_ context.Context, task step.Task) (any, error) {
		var args struct{ Token string }
		if err := json.Unmarshal(task.Arguments, &args); err != nil || args.Token != "" && args.Token != task.Token {
			return nil, fmt.Errorf("the argument is not the token: %w", err)
		}
		tokens <- task.Token
		return map[string]string{"asked with": task.Token}, nil
	})
}

// asks is an action without an effect of its own. The Task's intent is committed all the same, before the token is given away.
func asks(run func(context.Context, step.Task) (any, error)) step.Action {
	return step.Action{Name: "ask", Run: step.Each(run)}
}

func (e *engine) succeed(token, output string) error {
	return e.service.Succeed(e.t.Context(), token, "bank", json.RawMessage(output))
}

func TestATaskWaitsForItsAnswer(t *testing.T) {
	tokens := make(chan string, 10)
	e := newEngine(t, asking, asker(tokens))
	id := e.accept()
	token := wait(t, tokens)
	e.until(id, guarantee.Waiting)
	rec, history, err := e.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(history)
	if err != nil || strings.Contains(string(shown)+string(rec.Place)+string(rec.Ext), token) {
		t.Errorf("I25: the token is shown: %s %s %s %v", shown, rec.Place, rec.Ext, err)
	}
	if err := e.succeed(token, `{"paid": 12}`); err != nil {
		t.Fatal(err)
	}
	if rec := wait(t, e.ended); rec.Status != guarantee.Succeeded || string(rec.Ext) != `{"answer":{"paid":12}}` {
		t.Errorf("answered, it ended as %s with %s", rec.Status, rec.Ext)
	}
	if _, text := e.events(id); text != "Ask accepted\nAsk entered\nAsk waiting\nAsk answered\nAsk succeeded\nKeep succeeded\n" {
		t.Errorf("its history:\n%s", text)
	}
	if err := e.succeed(token, `{ "paid": 12 }`); err != nil {
		t.Errorf("the same answer again: %v", err)
	}
	if err := e.succeed(token, `{"paid": 13}`); !errors.Is(err, guarantee.ErrTaskAnswered) {
		t.Errorf("another answer: %v", err)
	}
	if err := e.service.Heartbeat(t.Context(), token+"A"); !errors.Is(err, guarantee.ErrTaskUnknown) {
		t.Errorf("a token that nobody made: %v", err)
	}
}

// TestAnAnswerMayOvertakeTheAction: it comes before the action has returned, whatever that comes to.
func TestAnAnswerMayOvertakeTheAction(t *testing.T) {
	for name, end := range map[string]func() (any, error){
		"succeeds": func() (any, error) { return nil, nil },
		"fails":    func() (any, error) { return nil, problem.New(problem.Unavailable, "chain-unreachable", "no answer") },
		"panics":   func() (any, error) { panic("after the answer") },
	} {
		t.Run(name, func(t *testing.T) {
			var e *engine
			var runs atomic.Int32
			e = newEngine(t, asking, asks(func(_ context.Context, task step.Task) (any, error) {
				runs.Add(1)
				if err := e.succeed(task.Token, `"soon"`); err != nil {
					t.Error(err)
				}
				return end()
			}))
			e.accept()
			if rec := wait(t, e.ended); string(rec.Ext) != `{"answer":"soon"}` || runs.Load() != 1 {
				t.Errorf("after %d runs it ended as %s in %s with %s", runs.Load(), rec.Status, rec.State, rec.Ext)
			}
		})
	}
}

func TestAFailureIsAnAnswer(t *testing.T) {
	tokens := make(chan string, 10)
	e := newEngine(t, asking, asker(tokens))
	e.accept()
	first := wait(t, tokens)
	if err := e.service.FailTask(t.Context(), first, "bank", "again", "not yet"); err != nil {
		t.Fatal(err)
	}
	e.jump(time.Second)
	second := wait(t, tokens) // another attempt has another token
	if first == second {
		t.Error("the second attempt has the token of the first")
	}
	if err := e.succeed(first, `1`); !errors.Is(err, guarantee.ErrTaskAnswered) {
		t.Errorf("an answer for the first attempt: %v", err)
	}
	if err := e.service.FailTask(t.Context(), second, "bank", "declined", "no money"); err != nil {
		t.Fatal(err)
	}
	if rec := wait(t, e.ended); rec.State != "No" {
		t.Errorf("declined, it ended in %s", rec.State)
	}
}

func TestMissedHeartbeatsAndTimeouts(t *testing.T) {
	tokens := make(chan string, 10)
	e := newEngine(t, asking, asker(tokens))
	id := e.accept()
	token := wait(t, tokens)
	e.until(id, guarantee.Waiting)
	for range 3 {
		e.jump(45 * time.Second) // three times would be too long without a heartbeat
		if err := e.service.Heartbeat(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	e.jump(61 * time.Second)
	if rec := wait(t, e.ended); rec.State != "Silent" {
		t.Errorf("without a heartbeat it ended in %s: %s", rec.State, rec.Reason)
	}
	for _, late := range []error{e.succeed(token, `1`), e.service.Heartbeat(t.Context(), token)} {
		if !errors.Is(late, guarantee.ErrTaskOver) {
			t.Errorf("too late: %v", late)
		}
	}
	id = e.accept()
	token = wait(t, tokens)
	e.until(id, guarantee.Waiting)
	for range 71 {
		e.ahead.Add(int64(50 * time.Second))
		if err := e.service.Heartbeat(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	e.jump(50 * time.Second) // 3600 in all
	if rec := wait(t, e.ended); rec.State != "Late" {
		t.Errorf("after an hour of heartbeats it ended in %s: %s", rec.State, rec.Reason)
	}
}

// TestAnAnswerSurvivesACrash: it is stored, and the process dies before the message has moved.
func TestAnAnswerSurvivesACrash(t *testing.T) {
	tokens := make(chan string, 10)
	e := newEngine(t, asking, asker(tokens))
	id := e.accept()
	token := wait(t, tokens)
	e.until(id, guarantee.Waiting)
	source, err := e.library.Find(t.Context(), start(t, e).Ref)
	if err != nil {
		t.Fatal(err)
	}
	e.stop()
	db, err := sqlite.Open(t.Context(), e.path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := sqlite.NewGuarantee(db)
	front := guarantee.Service{Store: g, Calls: g, Tokens: e.tokens, Now: time.Now}
	if err := errors.Join(front.Succeed(t.Context(), token, "bank", json.RawMessage(`"kept"`)), db.Close()); err != nil {
		t.Fatal(err)
	}
	e.open(string(source.Source))
	if rec := wait(t, e.ended); string(rec.Ext) != `{"answer":"kept"}` || len(tokens) != 0 {
		t.Errorf("after the crash it ended as %s with %s; asked %d times more", rec.Status, rec.Ext, len(tokens))
	}
}

// TestStorageFaultsLoseNoAnswer: the commits of opening, waiting and taking, failed and persisted-but-reported-failed.
func TestStorageFaultsLoseNoAnswer(t *testing.T) {
	for _, side := range []string{".before", ".after"} {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprint(side, nth), func(t *testing.T) {
				tokens := make(chan string, 10)
				e := newEngine(t, asking, asker(tokens))
				e.faults.Arm("guarantee.commit"+side, fault.Fail, nth)
				id := e.accept()
				token := wait(t, tokens)
				for tries := 0; ; tries++ { // the answer may share the commit that fails: whoever gives it tries again
					err := e.succeed(token, `true`)
					if err == nil {
						break
					}
					if tries == 3 {
						t.Fatal(err)
					}
				}
				if rec := e.final(id); string(rec.Ext) != `{"answer":true}` {
					t.Errorf("it ended as %s with %s", rec.Status, rec.Ext)
				}
				for len(tokens) > 0 {
					if again := <-tokens; again != token {
						t.Error("asked again in one attempt, it handed another token out")
					}
				}
			})
		}
	}
}

const askingAll = `
StartAt: Each
States:
  Each:
    Type: Map
    Items: [0, 1, 2, 3]
    ItemProcessor:
      StartAt: Ask
      States:
        Ask: {Type: Task, Resource: ask.waitForTaskToken, Arguments: {}, HeartbeatSeconds: 60, End: true, Catch: [{ErrorEquals: [States.ALL], Next: No}]}
        No: {Type: Fail, Error: "no"}
    Assign: {answers: "{% states.result %}"}
    End: true
`

// TestBranchesWaitTogether: each with a token of its own, answered in any order, at once.
func TestBranchesWaitTogether(t *testing.T) {
	tokens := make(chan string, 10)
	inOrder := asker(tokens)
	inOrder.Parallel = 1
	e := newEngine(t, askingAll, inOrder)
	e.accept()
	var all []string
	for range 4 {
		all = append(all, wait(t, tokens))
	}
	done := make(chan error, 4)
	for i := range all {
		go func() { done <- e.succeed(all[3-i], fmt.Sprint(3-i)) }()
	}
	for range all {
		if err := wait(t, done); err != nil {
			t.Error(err)
		}
	}
	if rec := wait(t, e.ended); string(rec.Ext) != `{"answers":[0,1,2,3]}` {
		t.Errorf("it ended as %s with %s", rec.Status, rec.Ext)
	}
}

// TestParkedItIsAnsweredAndResumed: what waits, waits on for the same answer.
func TestParkedItIsAnsweredAndResumed(t *testing.T) {
	tokens := make(chan string, 10)
	e := newEngine(t, asking, asker(tokens))
	id := e.accept()
	token := wait(t, tokens)
	e.until(id, guarantee.Waiting)
	if err := errors.Join(e.service.Park(t.Context(), id, "ann", "look at it"), e.succeed(token, `"while parked"`)); err != nil {
		t.Fatal(err)
	}
	wait(t, e.idle())
	if rec, _ := e.events(id); rec.Status != guarantee.Parked {
		t.Errorf("answered while it was parked, it is %s", rec.Status)
	}
	if err := e.service.Resume(t.Context(), id, "ann"); err != nil {
		t.Fatal(err)
	}
	if rec := wait(t, e.ended); string(rec.Ext) != `{"answer":"while parked"}` || len(tokens) != 0 {
		t.Errorf("it ended as %s with %s; asked %d times more", rec.Status, rec.Ext, len(tokens))
	}
}

// TestAnAttemptThatIsGivenUpTakesNoAnswer: an operator replays the message, or resumes it after a failure that parked it.
func TestAnAttemptThatIsGivenUpTakesNoAnswer(t *testing.T) {
	tokens := make(chan string, 10)
	e := newEngine(t, asking, asker(tokens))
	id := e.accept()
	first := wait(t, tokens)
	e.until(id, guarantee.Waiting)
	if err := errors.Join(e.service.Park(t.Context(), id, "ann", "begin again"), e.service.Replay(t.Context(), id, "ann")); err != nil {
		t.Fatal(err)
	}
	second := wait(t, tokens)
	if err := e.succeed(first, `1`); !errors.Is(err, guarantee.ErrTaskOver) || first == second {
		t.Errorf("an answer for the attempt before the replay: %v", err)
	}
	if err := e.service.FailTask(t.Context(), second, "bank", "unforeseen", ""); err != nil {
		t.Fatal(err)
	}
	wait(t, e.parked)
	if err := e.service.Resume(t.Context(), id, "ann"); err != nil {
		t.Fatal(err)
	}
	third := wait(t, tokens)
	if err := e.succeed(third, `3`); err != nil || third == second {
		t.Errorf("the attempt after the resume: %v", err)
	}
	if rec := wait(t, e.ended); string(rec.Ext) != `{"answer":3}` {
		t.Errorf("it ended as %s with %s", rec.Status, rec.Ext)
	}
}

const reporting = `
StartAt: Do
States:
  Do: {Type: Task, Resource: do, HeartbeatSeconds: 1, Catch: [{ErrorEquals: [States.Timeout], Next: Silent}, {ErrorEquals: [States.ALL], Next: Other}], Next: Keep}
  Keep: {Type: Task, Resource: archive, End: true}
  Silent: {Type: Fail, Error: silent}
  Other: {Type: Fail, Error: other}
`

// TestAnActionThatDoesNotReportIsCutOff: and it alone, though others are run with it; one that reports may take longer.
func TestAnActionThatDoesNotReportIsCutOff(t *testing.T) {
	var runs atomic.Int32
	e := newEngine(t, reporting, step.Action{Name: "do", Effect: true, Batch: 8, Run: step.Each(func(ctx context.Context, task step.Task) (any, error) {
		if runs.Add(1) == 1 {
			<-ctx.Done()
			return nil, fmt.Errorf("cut off: %w", ctx.Err())
		}
		for range 5 {
			select {
			case <-time.After(300 * time.Millisecond):
				task.Beat()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return nil, nil
	})})
	ends := map[string]int{}
	for range 3 {
		e.accept()
	}
	for range 3 {
		ends[wait(t, e.ended).State]++
	}
	if ends["Silent"] != 1 || ends["Keep"] != 2 {
		t.Errorf("they ended in %v", ends)
	}
}

// TestI18APanicFailsOneOfItsBatch: the others of the batch are run again, and told that they may have happened.
func TestI18APanicFailsOneOfItsBatch(t *testing.T) {
	gate := make(chan struct{})
	var batches, told atomic.Int32
	e := newEngine(t, effectThenArchive, pure("check"), step.Action{Name: "do", Effect: true, Batch: 8, Parallel: 1, Run: func(_ context.Context, tasks []step.Task) []step.Outcome {
		if batches.Add(1) == 1 {
			<-gate // so that the others gather behind the first
		}
		for _, task := range tasks {
			if strings.HasSuffix(string(task.Record.Body), `"poison"}`) {
				panic("poison")
			}
			if task.Resumed {
				told.Add(1)
			}
		}
		return make([]step.Outcome, len(tasks))
	}})
	e.accept()
	poison := e.acceptAs("", "poison")
	for range 5 {
		e.accept()
	}
	for e.control.InHand() < 7 {
		wait(t, time.After(time.Millisecond))
	}
	close(gate)
	if id := wait(t, e.parked); id != poison {
		t.Errorf("%s was parked, and %s panicked", id, poison)
	}
	for range 6 {
		wait(t, e.ended)
	}
	t.Logf("%d runs; %d tasks were told that they may have happened", batches.Load(), told.Load())
}

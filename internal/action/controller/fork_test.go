package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

const scatter = `
StartAt: Fan
States:
  Fan:
    Type: Parallel
    QueryLanguage: JSONPath
    Branches:
      - StartAt: Pay
        States:
          Pay: {Type: Task, Resource: do, End: true, Catch: [{ErrorEquals: [States.ALL], Next: Bad}], Retry: [{ErrorEquals: [busy], IntervalSeconds: 1}]}
          Bad: {Type: Fail, Error: bad}
      - StartAt: Each
        States:
          Each:
            Type: Map
            QueryLanguage: JSONPath
            ItemsPath: $.list
            ItemProcessor:
              StartAt: Tell
              States:
                Tell: {Type: Task, Resource: do, End: true, Catch: [{ErrorEquals: [States.ALL], Next: Sad}]}
                Sad: {Type: Fail, Error: sad}
            End: true
    InputPath: null
    Parameters: {list: [1, 2, 3]}
    End: true
`

// TestI5EffectsInBranchesHaveTheirOwnKeys: each branch and each iteration commits its own intent before its effect, under a
// name of its own, and has its effect once.
func TestI5EffectsInBranchesHaveTheirOwnKeys(t *testing.T) {
	var mu sync.Mutex
	var e *engine
	runs := map[string][]bool{}
	e = newEngine(t, scatter, effect("do", func(ctx context.Context, task step.Task) (any, error) {
		rec, _, err := e.store.Get(ctx, task.Record.ID)
		if err != nil {
			return nil, err
		}
		place, err := workflow.Place(rec.Place, rec.Parts)
		if err != nil || rec.State != "Fan" || !place.Begun.Has(task.State) {
			t.Errorf("when %s began, Guarantee had %s: %s %v", task.State, rec.State, rec.Place, err)
		}
		mu.Lock()
		defer mu.Unlock()
		runs[task.State] = append(runs[task.State], task.Resumed)
		if task.State == "Fan/0/Pay" && len(runs[task.State]) == 1 {
			return nil, problem.New(problem.Unavailable, "busy", "come back later")
		}
		return nil, nil
	}))
	id := e.accept()
	wait(t, e.ended)
	rec, history := e.events(id)
	if rec.Status != guarantee.Succeeded {
		t.Fatalf("at the end: %+v\n%s", rec, history)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(runs) != 4 || !slices.Equal(runs["Fan/0/Pay"], []bool{false, true}) {
		t.Errorf("the effects were run like this: %v", runs)
	}
	for _, state := range []string{"Fan/1/Each/0/Tell", "Fan/1/Each/1/Tell", "Fan/1/Each/2/Tell"} {
		if !slices.Equal(runs[state], []bool{false}) {
			t.Errorf("%s was run %v, want once", state, runs[state])
		}
	}
}

// TestI5BranchesThatWereCutOffAreResumed: after a crash every branch whose effect was begun goes on, and those that ended stay
// ended.
func TestI5BranchesThatWereCutOffAreResumed(t *testing.T) {
	begun, block := make(chan string, 20), make(chan struct{})
	e := newEngine(t, scatter, effect("do", func(ctx context.Context, task step.Task) (any, error) {
		begun <- fmt.Sprint(task.State, " ", task.Resumed)
		if task.State != "Fan/1/Each/1/Tell" && task.State != "Fan/0/Pay" {
			return nil, nil
		}
		select {
		case <-block:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	}))
	source, err := e.library.Find(t.Context(), start(t, e).Ref)
	if err != nil {
		t.Fatal(err)
	}
	id := e.accept()
	gathered(t, begun, "Fan/0/Pay false", "Fan/1/Each/0/Tell false", "Fan/1/Each/1/Tell false", "Fan/1/Each/2/Tell false")
	e.untilPart(id, "f/1/2/", `{"r":`)
	e.untilPart(id, "f/1/0/", `{"r":`)
	e.stop()
	close(block)
	e.open(string(source.Source))
	gathered(t, begun, "Fan/0/Pay true", "Fan/1/Each/1/Tell true")
	wait(t, e.ended)
}

// gathered waits for as many values as are wanted, in any order.
func gathered(t *testing.T, from <-chan string, want ...string) {
	t.Helper()
	var got []string
	for range want {
		got = append(got, wait(t, from))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// untilPart waits until a part of the message's place begins in a way.
func (e *engine) untilPart(id message.ID, key, begins string) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		rec, _ := e.events(id)
		at := slices.IndexFunc(rec.Parts, func(p guarantee.Part) bool { return p.Key == key })
		if at >= 0 && strings.HasPrefix(string(rec.Parts[at].Data), begins) {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("the part %s did not come to begin with %s: %q", key, begins, rec.Parts)
		}
		wait(e.t, time.After(time.Millisecond))
	}
}

const each = `
StartAt: Each
States:
  Each:
    Type: Map
    Items: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    MaxConcurrency: 3
    ItemProcessor:
      StartAt: Do
      States:
        Do: {Type: Task, Resource: do, Catch: [{ErrorEquals: [States.ALL], Next: Quit}], Retry: [{ErrorEquals: [busy], IntervalSeconds: 1}], Next: Rest}
        Rest: {Type: Choice, Choices: [{Condition: "{% states.input.wait %}", Next: Sleep}], Default: Done}
        Sleep: {Type: Wait, Seconds: 1, Next: Done}
        Done: {Type: Succeed, Output: "{% states.input.n %}"}
        Quit: {Type: Fail, Error: quit}
    Catch: [{ErrorEquals: [quit], Next: After}]
    Assign: {all: "{% states.result %}"}
    Next: Keep
  After: {Type: Task, Resource: "after", Catch: [{ErrorEquals: [States.ALL], Next: Bad}], Next: Keep}
  Keep: {Type: Task, Resource: archive, End: true}
  Bad: {Type: Fail, Error: bad}
`

// index of the iteration that a state is in.
func index(state string) int {
	n, _ := strconv.Atoi(strings.Split(state, "/")[1])
	return n
}

// TestASlowBranchHoldsUpNoOther: as many iterations as are allowed run at once, and while one goes on all the others end.
func TestASlowBranchHoldsUpNoOther(t *testing.T) {
	var at, most atomic.Int32
	others := make(chan int, 10)
	release, together := make(chan struct{}), make(chan struct{})
	meet := sync.OnceFunc(func() { close(together) })
	e := newEngine(t, each, effect("after", nil), effect("do", func(ctx context.Context, task step.Task) (any, error) {
		now := at.Add(1)
		defer at.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			continue
		}
		if now == 3 {
			meet()
		}
		<-together
		n := index(task.State)
		if n == 1 {
			<-release
		} else {
			others <- n
		}
		return map[string]any{"n": n, "wait": n%4 == 0}, nil
	}))
	id := e.accept()
	wait(t, together)
	for range 9 {
		wait(t, others)
	}
	e.untilPart(id, "f/8/", `{"r":`) // it has slept as well
	close(release)
	if rec := wait(t, e.ended); string(rec.Ext) != `{"all":[0,1,2,3,4,5,6,7,8,9]}` || most.Load() != 3 {
		t.Errorf("it ended as %s with %s; %d ran at once, want 3", rec.Status, rec.Ext, most.Load())
	}
}

// TestAFailingBranchAbandonsTheOthers: the workflow goes on without them, what they have begun stays known, and while one of
// them still runs nobody asks for the same again (I5).
func TestAFailingBranchAbandonsTheOthers(t *testing.T) {
	release, running, after := make(chan struct{}), make(chan string, 20), make(chan []string, 1)
	var ended, overlapped atomic.Bool
	e := newEngine(t, each, effect("after", func(_ context.Context, task step.Task) (any, error) {
		after <- task.Begun
		return nil, nil
	}), effect("do", func(_ context.Context, task step.Task) (any, error) {
		running <- task.State
		switch n := index(task.State); {
		case n == 0 && !task.Resumed:
			<-release
			ended.Store(true)
		case n == 0:
			overlapped.Store(!ended.Load())
		case n == 1 && !task.Resumed:
			return nil, problem.New(problem.Invalid, "quit", "no more")
		}
		return map[string]any{"n": index(task.State), "wait": false}, nil
	}))
	id := e.accept()
	begun := wait(t, after)
	if !slices.Contains(begun, "Each/0/Do") || !slices.Contains(begun, "Each/1/Do") || ended.Load() {
		t.Errorf("after a branch had failed, begun were %v; the abandoned one had ended: %v", begun, ended.Load())
	}
	rec := e.final(id)
	if rec.Status != guarantee.Succeeded || len(rec.Parts) != 0 {
		t.Errorf("it ended as %s with the parts %q", rec.Status, rec.Parts)
	}
	if n := e.control.InHand(); n != 1 {
		t.Errorf("%d are in hand while the abandoned action runs, want 1", n)
	}
	close(release)
	wait(t, e.idle())
	if overlapped.Load() {
		t.Error("I5: an action was asked for again while it ran")
	}
}

const again = `
StartAt: Both
States:
  Both:
    Type: Parallel
    Branches:
      - {StartAt: Slow, States: {Slow: {Type: Task, Resource: do, End: true, Catch: [{ErrorEquals: [States.ALL], Next: No}]}, "No": {Type: Fail, Error: "no"}}}
      - {StartAt: Fast, States: {Fast: {Type: Task, Resource: do, End: true, Catch: [{ErrorEquals: [States.ALL], Next: Busy}]}, Busy: {Type: Fail, Error: busy}}}
    Retry: [{ErrorEquals: [busy], IntervalSeconds: 1}]
    Next: Keep
  Keep: {Type: Task, Resource: archive, End: true}
`

// TestI5AnAbandonedActionIsWaitedForBeforeItsLike: a Parallel that is tried again asks for the same effect only when the first
// run of it is over, and says that it may have happened.
func TestI5AnAbandonedActionIsWaitedForBeforeItsLike(t *testing.T) {
	release, slow := make(chan struct{}), make(chan bool, 3)
	var fast, at atomic.Int32
	twice := make(chan struct{})
	e := newEngine(t, again, effect("do", func(_ context.Context, task step.Task) (any, error) {
		if task.State == "Both/1/Fast" {
			if fast.Add(1) == 1 {
				return nil, problem.New(problem.Unavailable, "busy", "later")
			}
			close(twice)
			return nil, nil
		}
		if at.Add(1) > 1 {
			t.Error("I5: one effect runs twice at once")
		}
		defer at.Add(-1)
		slow <- task.Resumed
		if !task.Resumed {
			<-release
		}
		return nil, nil
	}))
	e.accept()
	if wait(t, slow) {
		t.Error("the first run was told that it is resumed")
	}
	wait(t, twice) // the Parallel is tried again, and the first run goes on
	close(release)
	if !wait(t, slow) {
		t.Error("the second run was not told that the effect may have happened")
	}
	wait(t, e.ended)
}

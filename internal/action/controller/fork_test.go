package controller_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
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
		place, err := machine.DecodePlace(rec.Place)
		if err != nil || rec.State != "Fan" || !slices.Contains(place.Begun, task.State) {
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

// TestI5ABranchThatWasCutOffIsResumed: after a crash the branch whose effect was begun goes on, and those that ended stay ended.
func TestI5ABranchThatWasCutOffIsResumed(t *testing.T) {
	type run struct {
		state   string
		resumed bool
	}
	begun, block := make(chan run, 20), make(chan struct{})
	e := newEngine(t, scatter, effect("do", func(ctx context.Context, task step.Task) (any, error) {
		begun <- run{task.State, task.Resumed}
		if task.State != "Fan/1/Each/1/Tell" {
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
	e.accept()
	for _, want := range []run{{"Fan/0/Pay", false}, {"Fan/1/Each/0/Tell", false}, {"Fan/1/Each/1/Tell", false}} {
		if got := wait(t, begun); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	e.stop()
	close(block)
	e.open(string(source.Source))
	for _, want := range []run{{"Fan/1/Each/1/Tell", true}, {"Fan/1/Each/2/Tell", false}} {
		if got := wait(t, begun); got != want {
			t.Errorf("after the crash: got %+v, want %+v", got, want)
		}
	}
	wait(t, e.ended)
}

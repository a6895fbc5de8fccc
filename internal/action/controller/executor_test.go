package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/problem"
)

// TestADeadlineCutsOffNobodyElse: of two messages in one run, one whose time is over and one with time left.
func TestADeadlineCutsOffNobodyElse(t *testing.T) {
	c := &Controller{Config: withDefaults(Config{})}
	over := &flight{w: &work{}, run: machine.Run{State: "Over", Deadline: time.Now()}}
	ample := &flight{w: &work{}, run: machine.Run{State: "Ample"}}
	unreachable := problem.New(problem.Unavailable, "chain-unreachable", "no answer: %w", context.DeadlineExceeded)
	outcomes := c.call(t.Context(), step.Action{Name: "ask", Run: func(ctx context.Context, tasks []step.Task) []step.Outcome {
		if ctx.Err() != nil {
			t.Error("the run was cut off before it began")
		}
		return all(len(tasks), unreachable)
	}}, []*flight{over, ample})
	if code := problem.From(outcomes[0].Err).Code; code != machine.ErrTimeout {
		t.Errorf("what was cut off at its deadline failed with %s", code)
	}
	if !errors.Is(outcomes[1].Err, unreachable) {
		t.Errorf("what has no deadline failed with %v", outcomes[1].Err)
	}
}

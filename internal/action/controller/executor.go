package controller

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/problem"
)

// parallel is how many Runs of one action go on at once where the action does not say.
const parallel = 16

// executor runs one action with an outside effect.
type executor struct {
	c      *Controller
	action step.Action
	queue  chan *work // room for every message in hand: handing over never blocks
}

func newExecutor(c *Controller, action step.Action) *executor {
	setDefault(&action.Batch, 1)
	setDefault(&action.Parallel, parallel)
	return &executor{c: c, action: action, queue: make(chan *work, c.InFlight)}
}

func (e *executor) start(ctx context.Context, workers *sync.WaitGroup) {
	for range e.action.Parallel {
		workers.Go(func() {
			for {
				select {
				case w := <-e.queue:
					e.run(ctx, e.gather(w))
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

func (e *executor) gather(first *work) []*work {
	batch := []*work{first}
	for len(batch) < e.action.Batch {
		select {
		case w := <-e.queue:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

func (e *executor) run(ctx context.Context, batch []*work) {
	for i, outcome := range e.c.call(ctx, e.action, batch) {
		if ctx.Err() != nil {
			return // stopping: whether it happened is found out by the next process
		}
		batch[i].take(outcome)
		e.c.ready <- batch[i]
	}
}

// call runs an action for a batch, within the nearest deadline, and never lets a panic through.
func (c *Controller) call(ctx context.Context, action step.Action, batch []*work) (outcomes []step.Outcome) {
	begun := c.Now()
	tasks := make([]step.Task, len(batch))
	deadline := begun.Add(c.Timeout)
	for i, w := range batch {
		tasks[i] = step.Task{Record: &w.rec, State: w.run.State, Arguments: w.run.Arguments, Attempt: w.run.Attempt, Resumed: w.run.Resumed}
		if d := w.run.Deadline; !d.IsZero() && d.Before(deadline) {
			deadline = d
		}
	}
	defer func() {
		if r := recover(); r != nil {
			c.Log.ErrorContext(ctx, "an action panicked", "action", action.Name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			outcomes = all(len(batch), problem.New(problem.Internal, "action-panicked", "the action %s failed unexpectedly; its log line has the details", action.Name))
		}
		c.observe(action.Name, batch, outcomes, begun)
	}()
	if err := c.Faults.Hit("action." + action.Name + ".before"); err != nil {
		return all(len(batch), err)
	}
	limited, cancel := context.WithTimeout(ctx, deadline.Sub(begun))
	defer cancel()
	outcomes = action.Run(limited, tasks)
	if len(outcomes) != len(batch) {
		return all(len(batch), problem.New(problem.Internal, "action-broken", "the action %s answered %d of %d tasks", action.Name, len(outcomes), len(batch)))
	}
	if err := c.Faults.Hit("action." + action.Name + ".after"); err != nil {
		return all(len(batch), err)
	}
	return outcomes
}

func all(n int, err error) []step.Outcome {
	out := make([]step.Outcome, n)
	for i := range out {
		out[i].Err = err
	}
	return out
}

func (c *Controller) observe(action string, batch []*work, outcomes []step.Outcome, begun time.Time) {
	if c.Observe.Step == nil {
		return
	}
	took := c.Now().Sub(begun)
	for i, w := range batch {
		outcome := "succeeded"
		switch {
		case outcomes[i].Err != nil:
			outcome = problem.From(outcomes[i].Err).Code
		case outcomes[i].Later > 0:
			outcome = "later"
		}
		c.Observe.Step(w.rec.ID, w.run.State, action, outcome, begun, took)
	}
}

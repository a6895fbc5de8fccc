package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
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

// call runs an action for a batch and never lets a panic through. The batch has as long as the one in it that has longest:
// a message whose time is nearly over must not cut off the others.
func (c *Controller) call(ctx context.Context, action step.Action, batch []*work) (outcomes []step.Outcome) {
	begun := c.Now()
	tasks := make([]step.Task, len(batch))
	var limit time.Duration
	for i, w := range batch {
		tasks[i] = step.Task{Record: &w.rec, State: w.run.State, Arguments: w.run.Arguments, Attempt: w.run.Attempt, Resumed: w.run.Resumed, Begun: w.run.Begun}
		limit = max(limit, c.limit(w.run, begun))
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
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	outcomes = action.Run(limited, tasks)
	if len(outcomes) != len(batch) {
		return all(len(batch), problem.New(problem.Internal, "action-broken", "the action %s answered %d of %d tasks", action.Name, len(outcomes), len(batch)))
	}
	c.timeouts(batch, outcomes)
	if err := c.Faults.Hit("action." + action.Name + ".after"); err != nil {
		return all(len(batch), err)
	}
	return outcomes
}

// limit is how long a run may take: until its state's deadline, and Timeout at most.
func (c *Controller) limit(run *machine.Run, begun time.Time) time.Duration {
	if run.Deadline.IsZero() {
		return c.Timeout
	}
	return min(c.Timeout, run.Deadline.Sub(begun))
}

// timeouts gives what was cut off at its state's deadline the name that the language has for it. What failed by itself, or
// still succeeded, has its answer.
func (c *Controller) timeouts(batch []*work, outcomes []step.Outcome) {
	now := c.Now()
	for i, w := range batch {
		if d := w.run.Deadline; !d.IsZero() && !now.Before(d) && errors.Is(outcomes[i].Err, context.DeadlineExceeded) {
			outcomes[i].Err = problem.New(problem.Unavailable, machine.ErrTimeout, "%s was not finished in its time: %w", w.run.State, outcomes[i].Err)
		}
	}
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

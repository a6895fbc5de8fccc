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

// run runs a batch; what has to report while it runs is run alone, as only then it can be cut off alone.
func (e *executor) run(ctx context.Context, batch []*work) {
	var together []*work
	for _, w := range batch {
		if w.run.Heartbeat > 0 {
			e.finish(ctx, []*work{w})
			continue
		}
		together = append(together, w)
	}
	if len(together) > 0 {
		e.finish(ctx, together)
	}
}

func (e *executor) finish(ctx context.Context, batch []*work) {
	for i, outcome := range e.c.call(ctx, e.action, batch) {
		if ctx.Err() != nil {
			return // stopping: whether it happened is found out by the next process
		}
		batch[i].take(outcome)
		e.c.ready <- batch[i]
	}
}

// call runs an action for a batch. Where it panics, its tasks are run again one by one, so that only those fail whose fault
// it is; what was done before the panic may have had its effect.
func (c *Controller) call(ctx context.Context, action step.Action, batch []*work) []step.Outcome {
	begun := c.Now()
	outcomes, panicked := c.attempt(ctx, action, batch, begun)
	if panicked && len(batch) > 1 {
		for i, w := range batch {
			w.run.Resumed = true
			alone, _ := c.attempt(ctx, action, []*work{w}, c.Now())
			outcomes[i] = alone[0]
		}
	}
	c.observe(action.Name, batch, outcomes, begun)
	return outcomes
}

// attempt runs an action once and never lets a panic through. The batch has as long as the one in it that has longest:
// a message whose time is nearly over must not cut off the others.
func (c *Controller) attempt(ctx context.Context, action step.Action, batch []*work, begun time.Time) (outcomes []step.Outcome, panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			c.Log.ErrorContext(ctx, "an action panicked", "action", action.Name, "tasks", len(batch), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			outcomes, panicked = all(len(batch), problem.New(problem.Internal, "action-panicked", "the action %s failed unexpectedly; its log line has the details", action.Name)), true
		}
	}()
	if err := c.Faults.Hit("action." + action.Name + ".before"); err != nil {
		return all(len(batch), err), false
	}
	var limit time.Duration
	for _, w := range batch {
		limit = max(limit, c.limit(w.run, begun))
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	limited, beat, stop := pulse(limited, batch[0].run.Heartbeat)
	defer stop()
	outcomes = action.Run(limited, tasks(batch, beat))
	if len(outcomes) != len(batch) {
		return all(len(batch), problem.New(problem.Internal, "action-broken", "the action %s answered %d of %d tasks", action.Name, len(outcomes), len(batch))), false
	}
	c.timeouts(limited, batch, outcomes)
	if err := c.Faults.Hit("action." + action.Name + ".after"); err != nil {
		return all(len(batch), err), false
	}
	return outcomes, false
}

func tasks(batch []*work, beat func()) []step.Task {
	list := make([]step.Task, len(batch))
	for i, w := range batch {
		list[i] = step.Task{
			Record: &w.rec, State: w.run.State, Arguments: w.run.Arguments, Attempt: w.run.Attempt, Resumed: w.run.Resumed, Begun: w.run.Begun,
			Call: w.run.Call, Token: w.run.Token, Beat: beat,
		}
	}
	return list
}

// errSilent ends a run that did not report in its time.
var errSilent = errors.New("the action did not report in its time")

// pulse cuts a run off when beat was not called for so long; 0: it need not be.
func pulse(ctx context.Context, every time.Duration) (limited context.Context, beat, stop func()) {
	if every == 0 {
		return ctx, func() {}, func() {}
	}
	limited, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(every, func() { cancel(errSilent) })
	return limited, func() { timer.Reset(every) }, func() { timer.Stop(); cancel(nil) }
}

// limit is how long a run may take: until its state's deadline, and Timeout at most.
func (c *Controller) limit(run *machine.Run, begun time.Time) time.Duration {
	if run.Deadline.IsZero() {
		return c.Timeout
	}
	return min(c.Timeout, run.Deadline.Sub(begun))
}

// timeouts gives what was cut off at its state's deadline, or for its silence, the name that the language has for it. What failed by itself, or
// still succeeded, has its answer.
func (c *Controller) timeouts(ctx context.Context, batch []*work, outcomes []step.Outcome) {
	now := c.Now()
	silent := errors.Is(context.Cause(ctx), errSilent)
	for i, w := range batch {
		if silent && errors.Is(outcomes[i].Err, context.Canceled) {
			outcomes[i].Err = problem.New(problem.Unavailable, machine.ErrHeartbeat, "%s did not report within %s: %w", w.run.State, w.run.Heartbeat, outcomes[i].Err)
			continue
		}
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

package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/together"
)

// parallel is how many Runs of one action go on at once where the action does not say.
const parallel = 16

// executor runs one action with an outside effect.
type executor struct {
	c      *Controller
	action step.Action
	queue  *queue
}

func newExecutor(c *Controller, action step.Action) *executor {
	setDefault(&action.Batch, 1)
	setDefault(&action.Parallel, parallel)
	return &executor{c: c, action: action, queue: newQueue()}
}

func (e *executor) start(ctx context.Context, workers *sync.WaitGroup) {
	if e.action.Lane != nil {
		workers.Go(func() { newLanes(e, workers).sort(ctx) })
		return
	}
	for range e.action.Parallel {
		workers.Go(func() {
			for {
				select {
				case <-e.queue.signal:
					batch := e.queue.take(e.action.Batch)
					e.work(ctx, batch, len(batch))
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// work runs a batch, then lets the next one gather: open says how many flights of this action are under way. A batch of twice as many
// takes no more leases, and asks a node no more often.
func (e *executor) work(ctx context.Context, batch []*flight, open int) {
	begun := time.Now()
	e.run(ctx, batch)
	_ = lifecycle.Sleep(ctx, together.Pause(open, len(batch) == e.action.Batch, time.Since(begun))) // fails when ctx ends, and with it the worker
}

// run runs a batch. What was abandoned before it began is not begun.
func (e *executor) run(ctx context.Context, batch []*flight) {
	wanted := slices.DeleteFunc(batch, func(f *flight) bool {
		abandoned := f.abandoned.Load()
		if abandoned {
			e.c.back(f, step.Outcome{})
		}
		return abandoned
	})
	for _, some := range runs(wanted, e.action.Batch) {
		e.finish(ctx, some)
	}
}

// runs splits flights into those that are run together, at most so many. What has to report while it runs is run alone, as only
// then it can be cut off alone.
func runs(batch []*flight, most int) (list [][]*flight) {
	var together []*flight
	for _, f := range batch {
		if f.run.Heartbeat > 0 {
			list = append(list, []*flight{f})
			continue
		}
		together = append(together, f)
	}
	return slices.AppendSeq(list, slices.Chunk(together, max(most, 1)))
}

func (e *executor) finish(ctx context.Context, batch []*flight) {
	outcomes := e.c.call(ctx, e.action, batch)
	if ctx.Err() != nil {
		return // stopping: whether it happened is found out by the next process
	}
	for i, f := range batch {
		e.c.back(f, outcomes[i])
	}
}

// call runs an action for a batch. Where it panics, its tasks are run again one by one, so that only those fail whose fault
// it is; what was done before the panic may have had its effect.
func (c *Controller) call(ctx context.Context, action step.Action, batch []*flight) []step.Outcome {
	begun := c.Now()
	outcomes, panicked := c.attempt(ctx, action, batch, begun)
	if panicked && len(batch) > 1 {
		for i, f := range batch {
			f.run.Resumed = true
			alone, _ := c.attempt(ctx, action, []*flight{f}, c.Now())
			outcomes[i] = alone[0]
		}
	}
	c.observe(action.Name, batch, outcomes, begun)
	return outcomes
}

// attempt runs an action once and never lets a panic through. The batch has as long as the one in it that has longest:
// a message whose time is nearly over must not cut off the others.
func (c *Controller) attempt(ctx context.Context, action step.Action, batch []*flight, begun time.Time) (outcomes []step.Outcome, panicked bool) {
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
	for _, f := range batch {
		limit = max(limit, c.limit(&f.run, begun))
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	limited, beat, stop := pulse(limited, batch[0].run.Heartbeat)
	defer stop()
	outcomes = action.Run(limited, tasks(batch, begun, beat))
	if len(outcomes) != len(batch) {
		return all(len(batch), problem.New(problem.Internal, "action-broken", "the action %s answered %d of %d tasks", action.Name, len(outcomes), len(batch))), false
	}
	c.timeouts(limited, batch, outcomes)
	if err := c.Faults.Hit("action." + action.Name + ".after"); err != nil {
		return all(len(batch), err), false
	}
	return outcomes, false
}

func tasks(batch []*flight, now time.Time, beat func()) []step.Task {
	list := make([]step.Task, len(batch))
	for i, f := range batch {
		list[i] = f.task(now, beat)
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

// limit is how long a run may take: until its state's deadline, unless it withdraws, and Timeout at most.
func (c *Controller) limit(run *machine.Run, begun time.Time) time.Duration {
	if run.Deadline.IsZero() || run.Withdraws {
		return c.Timeout
	}
	return min(c.Timeout, run.Deadline.Sub(begun))
}

// timeouts gives what was cut off at its state's deadline, or for its silence, the name that the language has for it. What failed
// by itself, or still succeeded, has its answer.
func (c *Controller) timeouts(ctx context.Context, batch []*flight, outcomes []step.Outcome) {
	now := c.Now()
	silent := errors.Is(context.Cause(ctx), errSilent)
	for i, f := range batch {
		if silent && errors.Is(outcomes[i].Err, context.Canceled) {
			outcomes[i].Err = problem.New(problem.Unavailable, machine.ErrHeartbeat, "%s did not report within %s: %w", f.run.State, f.run.Heartbeat, outcomes[i].Err)
			continue
		}
		if d := f.run.Deadline; !d.IsZero() && !f.run.Withdraws && !now.Before(d) && errors.Is(outcomes[i].Err, context.DeadlineExceeded) {
			outcomes[i].Err = problem.New(problem.Unavailable, machine.ErrTimeout, "%s was not finished in its time: %w", f.run.State, outcomes[i].Err)
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

func (c *Controller) observe(action string, batch []*flight, outcomes []step.Outcome, begun time.Time) {
	if c.Observe.Step == nil {
		return
	}
	took := c.Now().Sub(begun)
	for i, f := range batch {
		outcome := "succeeded"
		switch {
		case outcomes[i].Err != nil:
			outcome = problem.From(outcomes[i].Err).Code
		case outcomes[i].Later > 0:
			outcome = "later"
		}
		c.Observe.Step(f.w.rec.ID, f.run.State, action, outcome, begun, took)
	}
}

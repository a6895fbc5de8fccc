package controller

import (
	"context"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Nudge has an action of these messages asked again now, where it is unfinished: somebody has learnt that what it waits for may have
// happened. What is not in hand any more, and waits in Guarantee, is made due. It is a hint; what it does not reach is asked again
// in its own time. It never blocks.
func (c *Controller) Nudge(action string, messages ...message.ID) {
	var away []message.ID
	for _, id := range messages {
		if w, found := c.hand.Load(id); found && c.deliver(w.(*work), arrival{nudged: action}) {
			continue
		}
		away = append(away, id)
	}
	c.away.add(away...)
}

// nudge begins the flights of an action that wanted to be asked again later. One that is out may have looked too early: it is
// asked once more if it is not finished.
func (w *work) nudge(action string) {
	for _, f := range w.flights {
		switch {
		case f.run.Action != action:
		case f.again.IsZero():
			f.nudged = true
		default:
			f.again = time.Time{}
			w.begin = append(w.begin, f)
		}
	}
}

// later is when an unfinished action is asked again.
func (f *flight) later(run *machine.Run, later time.Duration, now time.Time) time.Time {
	if f.nudged {
		return now
	}
	return askAgain(run, later, now)
}

// mostAway bounds the nudges that are kept for messages out of hand.
const mostAway = 100_000

// away are nudged messages that are not in hand.
type away struct {
	mu     sync.Mutex
	ids    []message.ID
	signal chan struct{}
}

func (a *away) add(ids ...message.ID) {
	if len(ids) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, ids[:min(len(ids), mostAway-len(a.ids))]...)
	select {
	case a.signal <- struct{}{}:
	default:
	}
}

func (a *away) take(most int) []message.ID {
	a.mu.Lock()
	defer a.mu.Unlock()
	some := a.ids[:min(most, len(a.ids))]
	if a.ids = a.ids[len(some):]; len(a.ids) > 0 {
		select {
		case a.signal <- struct{}{}:
		default:
		}
	}
	return some
}

// wakes makes due what was nudged while it waited in Guarantee, until ctx ends.
func (c *Controller) wakes(ctx context.Context) {
	for {
		select {
		case <-c.away.signal:
		case <-ctx.Done():
			return
		}
		if err := c.wake(ctx, c.away.take(c.Batch)); err != nil {
			c.trouble(ctx, "make due what was nudged", err) // it is asked again in its own time
		}
	}
}

func (c *Controller) wake(ctx context.Context, ids []message.ID) error {
	recs, err := c.store.Load(ctx, ids)
	if err != nil {
		return err
	}
	var due []guarantee.Transition
	now := c.Now()
	for i := range recs {
		if r := &recs[i]; r.Status == guarantee.Waiting && r.Due.After(now) {
			due = append(due, guarantee.Transition{ID: r.ID, From: r.Version, State: r.State, Status: r.Status, Due: now})
		}
	}
	if len(due) == 0 {
		return nil
	}
	refused, err := c.store.Commit(ctx, due)
	for _, why := range refused {
		if why != nil { // it has moved on meanwhile
			c.Log.DebugContext(ctx, "a nudged message has moved on", "cause", problem.From(why).Code)
		}
	}
	return err
}

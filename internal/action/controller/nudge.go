package controller

import (
	"context"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/message"
)

// Nudge has an action of these messages asked again now, where it is unfinished: somebody has learnt that what it waits for may have
// happened. What is not in hand here is told to the other processes, and made due where it waits in Guarantee: by Tell. It is a
// hint; what it does not reach is asked again in its own time. It never blocks.
func (c *Controller) Nudge(action string, messages ...message.ID) {
	c.others.add(action, c.heard(action, messages)...)
}

// heard hands a nudge to those of the messages that are in hand, and gives the others.
func (c *Controller) heard(action string, messages []message.ID) (others []message.ID) {
	for _, id := range messages {
		if w, found := c.hand.Load(id); !found || !c.deliver(w.(*work), arrival{nudged: action}) {
			others = append(others, id)
		}
	}
	return others
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

// mostUntold bounds the nudges that are kept to be told.
const mostUntold = 100_000

// nudges are those to be told to other processes.
type nudges struct {
	mu     sync.Mutex
	ids    map[string][]message.ID // by action
	n      int
	signal chan struct{}
}

func (l *nudges) add(action string, ids ...message.ID) {
	if len(ids) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ids = ids[:min(len(ids), mostUntold-l.n)]
	l.ids[action], l.n = append(l.ids[action], ids...), l.n+len(ids)
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// take gives all that there are.
func (l *nudges) take() map[string][]message.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.ids
	l.ids, l.n = map[string][]message.ID{}, 0
	return all
}

// Tell tells the other processes of what was nudged here and is not in hand here, until ctx ends. Run does so as well; a process
// that runs no Controller and learns of what messages wait for runs this alone.
func (c *Controller) Tell(ctx context.Context) error {
	for c.Nudges != nil {
		select {
		case <-c.others.signal:
		case <-ctx.Done():
			return nil
		}
		for action, ids := range c.others.take() {
			if err := c.Nudges.Nudge(ctx, action, ids); err != nil {
				c.trouble(ctx, "tell what may go on", err) // it is asked again in its own time
			}
		}
	}
	return nil
}

// listen hears what other processes tell, until ctx ends.
func (c *Controller) listen(ctx context.Context) {
	if c.Nudges != nil {
		c.Nudges.Listen(ctx, func(action string, ids []message.ID) { c.heard(action, ids) })
	}
}

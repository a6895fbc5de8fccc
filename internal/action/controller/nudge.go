package controller

import (
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/message"
)

// Nudge has an action of these messages asked again now, where it is unfinished and the message is in hand: somebody has learnt
// that what it waits for may have happened. It is a hint; what it does not reach is asked again in its own time. It never blocks.
func (c *Controller) Nudge(action string, messages ...message.ID) {
	for _, id := range messages {
		if w, found := c.hand.Load(id); found {
			c.deliver(w.(*work), arrival{nudged: action})
		}
	}
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

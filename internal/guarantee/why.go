package guarantee

import (
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/message"
)

// Why answers "why is this pending?" for one message, in one look.
type Why struct {
	ID       message.ID `json:"id"`
	State    string     `json:"state"`
	Status   Status     `json:"status"`
	Sentence string     `json:"sentence"`          // the answer
	Remedy   string     `json:"remedy,omitempty"`  // what a person can do, when there is something to do
	Since    time.Time  `json:"since"`             // when the message came to this state
	Next     *time.Time `json:"next,omitempty"`    // when it is looked at again, when that is known
	Last     Entry      `json:"last"`              // the newest history entry
	Retries  int        `json:"retries,omitempty"` // of the present state so far
	Facts    []string   `json:"facts,omitempty"`   // what the outside says, asked just now
}

// Explain reads a message and its history for a person.
func Explain(rec Record, history []Entry, now time.Time) Why {
	w := Why{ID: rec.ID, State: rec.State, Status: rec.Status, Since: rec.Accepted}
	if len(history) > 0 {
		w.Last = history[len(history)-1]
	}
	for i := len(history) - 1; i >= 0; i-- {
		e := history[i]
		if e.State != rec.State && !rec.Status.Terminal() {
			w.Since = e.At
			break
		}
		if e.Event == "retry" {
			w.Retries++
		}
	}
	switch rec.Status {
	case Running:
		w.running(now)
	case Waiting:
		w.waiting(rec, now)
	case Parked:
		w.Sentence = "It is parked in " + rec.State + ": " + rec.Reason + "."
		w.Remedy = fmt.Sprintf("Mend the cause, then: aval message resume %s (goes on in %s) or aval message replay %s (begins the workflow again; no effect is repeated).", rec.ID, rec.State, rec.ID)
	case Succeeded:
		w.Sentence, w.Since = "It is not pending: it ended well in "+rec.State+".", rec.Updated
	case Failed:
		w.Sentence, w.Since = "It is not pending: it was refused in "+rec.State+": "+rec.Reason+".", rec.Updated
	}
	return w
}

func (w *Why) running(now time.Time) {
	w.Sentence = fmt.Sprintf("It is being worked on in %s, for %s now.", w.State, now.Sub(w.Since).Round(time.Millisecond))
	if now.Sub(w.Since) > time.Minute {
		w.Remedy = "That is long: look at the metrics aval_feeder_oldest_seconds and aval_step_seconds, and at the log lines with this message id."
	}
}

func (w *Why) waiting(rec Record, now time.Time) {
	w.Next = &rec.Due
	reason := w.Last.Note
	if reason == "" {
		reason = "its workflow says so"
	}
	w.Sentence = fmt.Sprintf("It waits in %s: %s. It goes on in %s.", rec.State, reason, max(rec.Due.Sub(now), 0).Round(time.Millisecond))
}

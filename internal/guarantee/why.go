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

// Outside leaves out what operators alone can do.
func (w *Why) Outside() {
	if w.Remedy != "" && w.Status != Waiting { // whoever has a task token answers
		w.Remedy = "An operator has to look at it: name the message."
	}
}

// most is how many of the tasks that a message waits for are told of.
const most = 10

// Awaits tells of the tasks whose answers a message waits for. Task tokens are never shown.
func (w *Why) Awaits(calls []Call) {
	for i, c := range calls {
		if i == most {
			w.Facts = append(w.Facts, fmt.Sprintf("So do %d others.", len(calls)-most))
			break
		}
		w.Facts = append(w.Facts, c.State+" "+c.waits()+".")
	}
	if len(calls) == 1 && w.Status == Waiting && calls[0].Answer == nil {
		w.Sentence = "It waits: " + w.Facts[len(w.Facts)-1]
		w.Facts = w.Facts[:len(w.Facts)-1]
		w.Remedy = "Whoever has the task token answers; an operator can replay the message, which asks anew."
	}
}

// waits is what there is to know of a call, in one clause.
func (c Call) waits() string {
	if c.Answer != nil {
		return "has been answered by " + c.Answer.By + ", and the workflow goes on with it"
	}
	text := fmt.Sprintf("waits for an answer to its task token since %s, until %s", moment(c.Opened), moment(c.Until))
	switch {
	case c.Heartbeat == 0:
	case c.Beat.IsZero():
		text += fmt.Sprintf("; the first heartbeat has to come by %s", moment(c.Opened.Add(c.Heartbeat)))
	default:
		text += fmt.Sprintf("; the last heartbeat came at %s, the next has to come by %s", moment(c.Beat), moment(c.Beat.Add(c.Heartbeat)))
	}
	return text
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

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

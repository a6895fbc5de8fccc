package controller

import (
	"context"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/tasktoken"
)

// What came in for Tasks that wait for an answer is read with their messages. A commit that ends such a Task says what it has
// seen; where more came in meanwhile, Guarantee refuses it, and the message is read again. So of an answer and a timeout one
// wins, and neither gets lost.

// hear reads what came in for the messages' open calls.
func (c *Controller) hear(ctx context.Context, batch []*work) error {
	var waiting []message.ID
	for _, w := range batch {
		if w.place.Calls > 0 {
			waiting = append(waiting, w.rec.ID)
		}
	}
	if len(waiting) == 0 || c.Calls == nil {
		return nil
	}
	heard, err := c.Calls.Heard(ctx, waiting)
	if err != nil {
		return err
	}
	for _, w := range batch {
		for _, call := range heard[w.rec.ID] {
			if w.heard == nil {
				w.heard = map[int]guarantee.Call{}
			}
			w.heard[call.Number] = call
		}
	}
	return nil
}

// replies are what came in, as the machine takes it.
func (w *work) replies() map[int]machine.Reply {
	if len(w.heard) == 0 {
		return nil
	}
	replies := make(map[int]machine.Reply, len(w.heard))
	for number, call := range w.heard {
		r := machine.Reply{Beat: call.Beat}
		if a := call.Answer; a != nil {
			r.Answer, r.By = &machine.Event{Kind: machine.Succeeded, Output: a.Output}, a.By
			if a.Failed {
				r.Answer = &machine.Event{Kind: machine.Failed, Error: a.Error, Cause: a.Cause}
			}
		}
		replies[number] = r
	}
	return replies
}

// token makes the message's task tokens.
func (c *Controller) token(w *work) func(state string, call int) string {
	if c.Tokens == nil {
		return nil
	}
	return func(state string, call int) string {
		return c.Tokens.Make(tasktoken.Call{Message: w.rec.ID, State: state, Number: call})
	}
}

// calls notes which calls a Move opens and closes, for the commit.
func (w *work) calls(move *machine.Move) {
	for _, call := range move.Opened {
		w.opened = append(w.opened, guarantee.Call{Number: call.Number, State: call.State, Until: call.Until, Heartbeat: call.Heartbeat})
	}
	for _, number := range move.Closed {
		w.closed = append(w.closed, guarantee.Closing{Number: number, Seen: w.heard[number].Heard})
		delete(w.heard, number)
	}
	w.awaits = move.Open > 0
}

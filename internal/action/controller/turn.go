package controller

import (
	"context"
	"slices"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/telemetry"
)

// turns takes what is ready, decides and commits it, until ctx ends.
func (c *Controller) turns(ctx context.Context) {
	for {
		select {
		case w := <-c.ready:
			c.turn(ctx, c.gather(w))
		case <-ctx.Done():
			return
		}
	}
}

// gather adds what else is ready, so that it is committed together.
func (c *Controller) gather(first *work) []*work {
	batch := []*work{first}
	for len(batch) < c.Batch {
		select {
		case w := <-c.ready:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// turn decides and commits one batch and sends each message on its way.
func (c *Controller) turn(ctx context.Context, batch []*work) {
	if err := c.hear(ctx, listening(batch)); err != nil {
		c.trouble(ctx, "read answers to task tokens", err) // they are still there the next time
	}
	var moved []*work
	var transitions []guarantee.Transition
	for i, end := range c.advance(ctx, batch) {
		w := batch[i]
		if end != nil {
			moved, transitions = append(moved, w), append(transitions, *end)
		} else if t, commit := c.stand(w, c.Now()); commit {
			moved, transitions = append(moved, w), append(transitions, t)
		} else {
			c.launch(w)
		}
	}
	if len(transitions) > 0 {
		c.commit(ctx, moved, transitions)
	}
}

// advance tells the machine of all that has happened to the messages, and gives the ends that they come to; nil for one that
// goes on. Steps without an outside effect are run here, those of all messages together, and chained.
func (c *Controller) advance(ctx context.Context, batch []*work) (ends []*guarantee.Transition) {
	ends = make([]*guarantee.Transition, len(batch))
	for _, w := range batch {
		w.inline = append(w.inline, w.arrivals()...)
	}
	for {
		var asked []*flight
		for i, w := range batch {
			if ends[i] == nil {
				ends[i] = c.follow(w)
			}
			if ends[i] == nil {
				asked = append(asked, w.asked...)
			}
			w.asked = nil
		}
		if len(asked) == 0 {
			return ends
		}
		c.perform(ctx, asked)
	}
}

// perform runs actions without an outside effect and keeps their answers for the machine, in the order in which they were asked.
func (c *Controller) perform(ctx context.Context, asked []*flight) {
	outcomes := make(map[*flight]step.Outcome, len(asked))
	for name, flights := range byAction(asked) {
		action, err := c.actions.Get(name)
		for _, some := range runs(flights, action.Batch) {
			answers := all(len(some), err)
			if err == nil {
				answers = c.call(ctx, action, some)
			}
			for i, f := range some {
				outcomes[f] = answers[i]
			}
		}
	}
	for _, f := range asked {
		f.w.inline = append(f.w.inline, f.arrival(outcomes[f]))
	}
}

func byAction(flights []*flight) map[string][]*flight {
	groups := map[string][]*flight{}
	for _, f := range flights {
		groups[f.run.Action] = append(groups[f.run.Action], f)
	}
	return groups
}

// listening are the messages in a batch that wait for answers while actions of theirs are running.
func listening(batch []*work) (list []*work) {
	for _, w := range batch {
		if w.awaits && len(w.flights) > 0 {
			list = append(list, w)
		}
	}
	return list
}

func (c *Controller) commit(ctx context.Context, moved []*work, transitions []guarantee.Transition) {
	begun := c.Now()
	refused, err := c.store.Commit(ctx, transitions)
	if err != nil { // not applied, or unknown: read again what is true
		c.trouble(ctx, "commit transitions", err)
		c.letGo(moved)
		return
	}
	if c.Observe.Committed != nil {
		c.Observe.Committed(len(transitions), c.Now().Sub(begun))
	}
	var done []*work
	for i, w := range moved {
		if refused[i] != nil {
			c.Log.InfoContext(telemetry.WithMessage(ctx, w.rec.ID), "the message moved meanwhile and is read again", "cause", problem.From(refused[i]).Code)
			done = append(done, w)
			continue
		}
		c.committed(ctx, w, &transitions[i])
		if transitions[i].Status != guarantee.Running {
			done = append(done, w)
			continue
		}
		c.launch(w)
	}
	c.letGo(done)
}

// letGo takes messages out of hand, and settles the claims of those that nothing is running for.
func (c *Controller) letGo(batch []*work) {
	late := map[string][]message.ID{} // by action: nudged in the last moment
	left := slices.DeleteFunc(batch, func(w *work) bool {
		c.hand.CompareAndDelete(w.rec.ID, w)
		settled, action := w.leave()
		if action != "" {
			late[action] = append(late[action], w.rec.ID)
		}
		return !settled
	})
	c.settle(ids(left))
	for action, ids := range late {
		c.others.add(action, ids...)
	}
}

// committed takes over what is now stored.
func (c *Controller) committed(ctx context.Context, w *work, t *guarantee.Transition) {
	w.rec.Version += int64(len(t.Entries))
	w.rec.State, w.rec.Status, w.rec.Reason = t.State, t.Status, t.Reason
	w.entries, w.opened, w.closed, w.changes = nil, nil, nil, machine.Changes{}
	switch {
	case t.Status == guarantee.Parked:
		c.Log.WarnContext(telemetry.WithMessage(ctx, w.rec.ID), "message parked", "state", t.State, "reason", t.Reason)
		if c.Observe.Parked != nil {
			c.Observe.Parked(w.rec.ID, t.Reason)
		}
	case t.Status.Terminal():
		c.Log.InfoContext(telemetry.WithMessage(ctx, w.rec.ID), "message ended", "type", w.rec.Type, "status", t.Status, "state", t.State, "archived", t.Archive, "reason", t.Reason, "after", c.Now().Sub(w.rec.Accepted))
		if c.Observe.Ended != nil {
			c.Observe.Ended(&w.rec)
		}
	}
}

func ids(batch []*work) []message.ID {
	list := make([]message.ID, len(batch))
	for i, w := range batch {
		list[i] = w.rec.ID
	}
	return list
}

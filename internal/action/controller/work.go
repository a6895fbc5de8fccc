package controller

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/expr"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// maxOutput is the size up to which an action's answer is shown in the history.
const maxOutput = 512

// work is one message in hand.
type work struct {
	rec     guarantee.Record
	def     *machine.Definition
	place   machine.Place
	event   machine.Event     // what happened since the last Move
	entries []guarantee.Entry // not committed yet
	archive bool              // the archive action has asked for it
	note    string            // of the last outcome
	began   time.Time         // when the action that runs now was asked for the first time
	later   time.Duration     // what an unfinished action asked for
	run     *machine.Run      // what to run after the commit
	broken  error             // it cannot be worked on: park it

	heard  map[int]guarantee.Call // what came in for open calls, when the message was loaded
	opened []guarantee.Call       // not committed yet
	closed []guarantee.Closing    // not committed yet
	awaits bool                   // calls are open
}

// begin takes a loaded message in hand. What is wrong with it for good parks it in its first turn; an error means that its
// workflow cannot be read now, which is no fault of the message.
func (c *Controller) begin(ctx context.Context, rec guarantee.Record) (w *work, err error) {
	w = &work{rec: rec}
	if w.place, w.broken = machine.DecodePlace(rec.Place); w.broken != nil {
		return w, nil //nolint:nilerr // it is the message that is broken
	}
	if w.def, err = c.workflows.Find(ctx, rec.Workflow); err == nil {
		return w, nil
	}
	if kind := problem.KindOf(err); kind == problem.NotFound || kind == problem.Invalid {
		w.broken, err = err, nil
	}
	return w, err
}

// advance decides the next transition. Steps without an outside effect are run here and chained. It gives false when there
// is nothing to commit.
func (c *Controller) advance(ctx context.Context, w *work) (t guarantee.Transition, commit bool) {
	if w.broken != nil {
		return c.park(w, w.broken.Error()), true
	}
	for {
		now := c.Now()
		move := w.def.Next(w.place, w.rec.Ext, w.event, c.env(w, now))
		w.place, w.rec.Ext = move.Place, move.Ext
		w.calls(&move)
		c.record(w, move.Visits, now)
		switch {
		case move.Done != nil:
			return c.end(w, move.Done), true
		case !move.Wait.IsZero():
			if len(w.entries) == 0 && w.rec.Status != guarantee.Waiting { // resumed before its time: only who waits can be postponed
				w.entries = append(w.entries, c.entry(w, w.place.State, "waiting", "until "+move.Wait.UTC().Format(time.RFC3339), now))
			}
			return c.transition(w, guarantee.Waiting, move.Wait, ""), true
		case w.event.Kind == machine.Later && len(move.Visits) == 0:
			return c.unfinished(w, move.Run, now)
		case move.Run.Effect:
			w.run, w.began = move.Run, now
			return c.transition(w, guarantee.Running, time.Time{}, ""), len(w.entries) > 0
		case len(w.entries) >= machine.MaxChain:
			return c.parked(w, fmt.Sprintf("%s: %d steps were taken without an outside effect or a wait: the workflow runs in a circle", machine.ErrRuntime, len(w.entries))), true
		}
		c.inline(ctx, w, move.Run)
	}
}

// env is what the next transition may depend on.
func (c *Controller) env(w *work, now time.Time) machine.Env {
	return machine.Env{
		Now: now, Random: spread(w.rec.ID, w.rec.Version), Message: w.message, Body: w.rec.Body, Seed: string(w.rec.ID),
		Token: c.token(w), Replies: w.replies(),
		Execution: machine.Execution{ID: string(w.rec.ID), Name: string(w.rec.ID), Role: w.rec.Client, Started: w.rec.Accepted},
	}
}

// inline runs an action without an outside effect.
func (c *Controller) inline(ctx context.Context, w *work, run *machine.Run) {
	action, err := c.actions.Get(run.Action)
	if err != nil {
		w.event = failure(err)
		return
	}
	w.run, w.began = run, c.Now()
	outcomes := c.call(ctx, action, []*work{w})
	w.take(outcomes[0])
}

// unfinished decides how an action that is not finished goes on: in hand for a while, then from Guarantee. It is not kept in
// hand for longer, however late it wants to be asked again: what is in hand is beyond an operator's reach.
func (c *Controller) unfinished(w *work, run *machine.Run, now time.Time) (t guarantee.Transition, commit bool) {
	if run.Effect && now.Add(w.later).Sub(w.began) < c.Linger && !c.stopping.Load() {
		w.run = run
		return t, false
	}
	if w.rec.Status != guarantee.Waiting || len(w.entries) > 0 {
		w.entries = append(w.entries, c.entry(w, run.State, "waiting", w.note, now))
	}
	w.run = nil
	return c.transition(w, guarantee.Waiting, now.Add(w.later), ""), true
}

// spread is the number in [0, 1) that jitters a message's retries: it differs from message to message and from version to
// version, which is all that jitter is for, and is the same wherever it is computed.
func spread(id message.ID, version int64) float64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte(id), uint64(version))) // a hash takes everything
	return float64(h.Sum64()>>11) / (1 << 53)
}

// message decodes the instruction for expressions.
func (w *work) message() any {
	body, err := expr.Decode(w.rec.Body)
	if err != nil {
		body = nil
	}
	return map[string]any{
		"id": string(w.rec.ID), "type": w.rec.Type, "client": w.rec.Client, "chain": w.rec.Chain,
		"signer": w.rec.Signer.Hex(), "expires": w.rec.Expires.Unix(), "body": body,
	}
}

// take turns an action's outcome into the machine's next event.
func (w *work) take(o step.Outcome) {
	w.note, w.later = o.Note, o.Later
	w.archive = w.archive || o.Archive
	switch {
	case o.Err != nil:
		w.event = failure(o.Err)
		if o.Output != nil {
			if raw, err := json.Marshal(o.Output); err == nil { // the error stands without it too
				w.event.Details = raw
			}
		}
	case o.Later > 0:
		w.event = machine.Event{Kind: machine.Later}
	default:
		raw := json.RawMessage("{}")
		if o.Output != nil {
			var err error
			if raw, err = json.Marshal(o.Output); err != nil {
				w.event = failure(fmt.Errorf("the answer of the action %s is not JSON: %w", w.run.Action, err))
				return
			}
		}
		w.event = machine.Event{Kind: machine.Succeeded, Output: raw}
	}
}

func failure(err error) machine.Event {
	p := problem.From(err)
	return machine.Event{Kind: machine.Failed, Error: p.Code, Cause: err.Error()}
}

func (c *Controller) entry(w *work, state, event, note string, now time.Time) guarantee.Entry {
	return guarantee.Entry{Version: w.rec.Version + int64(len(w.entries)) + 1, State: state, Event: event, By: c.Name, At: now, Note: note}
}

// record turns the machine's visits into history. The first one after an action tells what the action did.
func (c *Controller) record(w *work, visits []machine.Visit, now time.Time) {
	for i, v := range visits {
		e := c.entry(w, v.State, v.What, v.Note, now)
		if i == 0 && w.run != nil && v.State == w.run.State && w.event.Kind != machine.Fed {
			e.Action, e.Took = w.run.Action, now.Sub(w.began)
			if e.Note == "" {
				e.Note = w.note
			}
			if out := w.event.Output; len(out) > len("{}") && len(out) <= maxOutput && w.run.Call == 0 { // who hands a token out may repeat it (I25)
				e.Output = out
			}
		}
		w.entries = append(w.entries, e)
	}
	if len(visits) > 0 {
		w.run = nil
	}
}

func (c *Controller) transition(w *work, status guarantee.Status, due time.Time, reason string) guarantee.Transition {
	return guarantee.Transition{
		ID: w.rec.ID, From: w.rec.Version, Entries: w.entries, State: w.place.State, Status: status,
		Place: w.place.Encode(), Ext: w.rec.Ext, Due: due, Reason: reason,
		Open: w.opened, Close: w.closed, Awaits: w.awaits && !status.Terminal() && status != guarantee.Parked,
	}
}

// end is the transition into the last state. What no Catch foresaw is not an end: the message is parked.
func (c *Controller) end(w *work, done *machine.Done) guarantee.Transition {
	w.run = nil
	if done.Uncaught {
		return c.parked(w, done.Error+": "+done.Cause)
	}
	t := c.transition(w, guarantee.Succeeded, time.Time{}, "")
	if !done.Succeeded {
		t.Status, t.Reason = guarantee.Failed, reason(done)
	}
	t.Place, t.Archive = nil, w.archive
	return t
}

func reason(d *machine.Done) string {
	if d.Cause == "" {
		return d.Error
	}
	return d.Error + ": " + d.Cause
}

// park is the transition of a message that cannot be worked on.
func (c *Controller) park(w *work, why string) guarantee.Transition {
	w.run = nil
	w.entries = append(w.entries, c.entry(w, w.rec.State, "parked", why, c.Now()))
	t := c.transition(w, guarantee.Parked, time.Time{}, why)
	t.State, t.Place = w.rec.State, w.rec.Place
	return t
}

func (c *Controller) parked(w *work, why string) guarantee.Transition {
	w.entries = append(w.entries, c.entry(w, w.place.State, "parked", "an operator can resume or replay it", c.Now()))
	return c.transition(w, guarantee.Parked, time.Time{}, why)
}

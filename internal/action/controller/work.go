package controller

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/expr"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// maxOutput is the size up to which an action's answer is shown in the history.
const maxOutput = 512

// work is one message in hand. All of it is the turn's that it is in, but for what stands in its hangar.
type work struct {
	rec     guarantee.Record
	def     *machine.Definition
	place   machine.Place
	entries []guarantee.Entry // not committed yet
	changes machine.Changes   // not committed yet
	archive bool              // the archive action has asked for it
	broken  error             // it cannot be worked on: park it
	wait    time.Time         // when there is something to do without an answer; zero: never

	flights map[string]*flight // by state: the actions that were asked for
	begin   []*flight          // of them, those to begin after the commit
	asked   []*flight          // of actions without an outside effect, to be run in this turn
	inline  []arrival          // of those, to be told to the machine yet
	chained map[string]int     // how many of those a branch has run since its last action with an effect

	heard  map[int]guarantee.Call // what came in for open calls, when it was last read
	opened []guarantee.Call       // not committed yet
	closed []guarantee.Closing    // not committed yet
	awaits bool                   // calls are open

	hangar
}

// begin takes a loaded message in hand. What is wrong with it for good parks it in its first turn; an error means that its
// workflow cannot be read now, which is no fault of the message.
func (c *Controller) begin(ctx context.Context, rec guarantee.Record) (w *work, err error) {
	w = &work{rec: rec, flights: map[string]*flight{}, chained: map[string]int{}}
	w.busy, w.arrived = true, []arrival{{event: machine.Event{Kind: machine.Fed}}}
	if w.place, w.broken = workflow.Place(rec.Place, rec.Parts); w.broken != nil {
		return w, nil //nolint:nilerr // it is the message that is broken
	}
	w.rec.Parts = nil // from here on they are in the place
	if w.def, err = c.workflows.Find(ctx, rec.Workflow); err == nil {
		return w, nil
	}
	if kind := problem.KindOf(err); kind == problem.NotFound || kind == problem.Invalid {
		w.broken, err = err, nil
	}
	return w, err
}

// follow tells the machine of what has happened, until nothing more has or there is enough for one commit. It gives the end, when
// the message comes to one.
func (c *Controller) follow(w *work) *guarantee.Transition {
	if w.broken != nil {
		t := c.park(w, w.broken.Error())
		return &t
	}
	for len(w.inline) > 0 && len(w.entries) < machine.MaxChain {
		a := w.inline[0]
		w.inline = w.inline[1:]
		done := c.arrive(w, a)
		switch way := wayOf(a); {
		case done != nil:
			t := c.end(w, done)
			return &t
		case w.chained[way] >= machine.MaxChain/2:
			t := c.parked(w, fmt.Sprintf("%s: %d Tasks were done without an outside effect or a wait: the workflow runs in a circle", machine.ErrRuntime, w.chained[way]))
			return &t
		}
	}
	return nil
}

// wayOf is the branch in which something has happened.
func wayOf(a arrival) string {
	if a.flight == nil {
		return ""
	}
	state := a.flight.run.State
	return state[:strings.LastIndexByte(state, '/')+1]
}

// arrive tells the machine what has happened, and begins what it asks for. It gives the end, when this is it.
func (c *Controller) arrive(w *work, a arrival) *machine.Done {
	now := c.Now()
	switch {
	case a.nudged != "":
		w.nudge(a.nudged)
		return nil
	case a.flight == nil:
		w.wake(now)
	case !w.landed(a):
		return nil
	}
	move := w.def.Next(w.place, w.rec.Ext, a.event, c.env(w, now))
	w.place, w.rec.Ext, w.wait = move.Place, move.Ext, move.Wait
	w.changes.Add(move.Changes)
	w.calls(&move)
	c.record(w, a, move.Visits, now)
	for _, way := range move.Dropped {
		w.abandon(way)
	}
	for _, run := range move.Runs {
		switch {
		case a.event.Kind == machine.Later && run.State == a.flight.run.State:
			a.flight.run, a.flight.again = run, a.flight.later(&run, a.outcome.Later, now)
			w.flights[run.State] = a.flight
		case run.Effect:
			w.ask(run, now)
		default:
			f := &flight{w: w, rec: w.rec, run: run, began: now}
			w.chained[wayOf(arrival{flight: f})]++
			w.asked = append(w.asked, f)
		}
	}
	return move.Done
}

// landed takes a flight out of those that are expected. It gives false when its answer does not count.
func (w *work) landed(a arrival) bool {
	f := a.flight
	if w.flights[f.run.State] == f {
		delete(w.flights, f.run.State)
	}
	if f.next != nil {
		w.flights[f.run.State], w.begin = f.next, append(w.begin, f.next)
	}
	if f.abandoned.Load() {
		return false
	}
	if f.run.Effect {
		delete(w.chained, wayOf(a))
	}
	f.note = a.outcome.Note
	w.archive = w.archive || a.outcome.Archive
	return true
}

// stand decides what becomes of a message that waits for actions or for a time. It stays in hand while an action is at work;
// not while all of them want to be asked again later: what is in hand is beyond an operator's reach.
func (c *Controller) stand(w *work, now time.Time) (t guarantee.Transition, commit bool) {
	due, working := w.wait, len(w.inline) > 0
	var unfinished *flight
	for _, f := range w.flights {
		switch {
		case f.again.IsZero() || f.lingers(c): // also an abandoned one: its claim is kept as long, so the times that come are met in hand
			working = true
		default:
			unfinished, due = f, earlier(due, f.again)
		}
	}
	switch {
	case working:
		return c.transition(w, guarantee.Running, time.Time{}, ""), len(w.entries) > 0
	case due.IsZero():
		return c.park(w, "the workflow waits for nothing: "+w.place.State), true
	case unfinished != nil && (w.rec.Status != guarantee.Waiting || len(w.entries) > 0 || w.news(unfinished, now)):
		w.entries = append(w.entries, c.entry(w, unfinished.run.State, "waiting", unfinished.note, now))
	case len(w.entries) == 0 && w.rec.Status != guarantee.Waiting: // resumed before its time: only who waits can be postponed
		w.entries = append(w.entries, c.entry(w, w.place.State, "waiting", "until "+due.UTC().Format(time.RFC3339), now))
	}
	w.begin = nil
	return c.transition(w, guarantee.Waiting, due, ""), true
}

// env is what the next transition may depend on.
func (c *Controller) env(w *work, now time.Time) machine.Env {
	return machine.Env{
		Now: now, Random: spread(w.rec.ID, w.rec.Version), Message: w.message, Body: w.rec.Body, Seed: string(w.rec.ID),
		Token: c.token(w), Replies: w.replies(),
		Withdraws: c.actions.Withdraws,
		Execution: machine.Execution{ID: string(w.rec.ID), Name: string(w.rec.ID), Role: w.rec.Client, Started: w.rec.Accepted},
	}
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

// arrival turns an action's outcome into the machine's next event.
func (f *flight) arrival(o step.Outcome) arrival {
	return arrival{flight: f, event: f.event(o), outcome: o}
}

func (f *flight) event(o step.Outcome) machine.Event {
	switch {
	case o.Err != nil:
		failed := f.failure(o.Err)
		if o.Output != nil {
			if raw, err := json.Marshal(o.Output); err == nil { // the error stands without it too
				failed.Details = raw
			}
		}
		return failed
	case o.Later > 0:
		return machine.Event{Kind: machine.Later, State: f.run.State}
	}
	raw := json.RawMessage("{}")
	if o.Output != nil {
		var err error
		if raw, err = json.Marshal(o.Output); err != nil {
			return f.failure(fmt.Errorf("the answer of the action %s is not JSON: %w", f.run.Action, err))
		}
	}
	return machine.Event{Kind: machine.Succeeded, State: f.run.State, Output: raw}
}

func (f *flight) failure(err error) machine.Event {
	return machine.Event{Kind: machine.Failed, State: f.run.State, Error: problem.From(err).Code, Cause: err.Error()}
}

func (c *Controller) entry(w *work, state, event, note string, now time.Time) guarantee.Entry {
	return guarantee.Entry{Version: w.rec.Version + int64(len(w.entries)) + 1, State: state, Event: event, By: c.Name, At: now, Note: note}
}

// record turns the machine's visits into history. The first one after an action tells what the action did.
func (c *Controller) record(w *work, a arrival, visits []machine.Visit, now time.Time) {
	for i, v := range visits {
		e := c.entry(w, v.State, v.What, v.Note, now)
		if f := a.flight; i == 0 && f != nil && v.State == f.run.State {
			e.Action, e.Took = f.run.Action, now.Sub(f.began)
			if e.Note == "" {
				e.Note = f.note
			}
			if out := a.event.Output; len(out) > len("{}") && len(out) <= maxOutput && f.run.Call == 0 { // who hands a token out may repeat it (I25)
				e.Output = out
			}
		}
		w.entries = append(w.entries, e)
	}
}

func (c *Controller) transition(w *work, status guarantee.Status, due time.Time, reason string) guarantee.Transition {
	return guarantee.Transition{
		ID: w.rec.ID, From: w.rec.Version, Entries: w.entries, State: w.place.State, Status: status,
		Place: w.place.Encode(), Parts: workflow.Parts(w.place, w.changes), Ext: w.rec.Ext, Due: due, Reason: reason,
		Open: w.opened, Close: w.closed, Awaits: w.awaits && !status.Terminal() && status != guarantee.Parked,
	}
}

// end is the transition into the last state. What no Catch foresaw is not an end: the message is parked.
func (c *Controller) end(w *work, done *machine.Done) guarantee.Transition {
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
	w.entries = append(w.entries, c.entry(w, w.rec.State, "parked", why, c.Now()))
	t := c.transition(w, guarantee.Parked, time.Time{}, why)
	t.State, t.Place, t.Parts = w.rec.State, w.rec.Place, nil
	return t
}

func (c *Controller) parked(w *work, why string) guarantee.Transition {
	w.entries = append(w.entries, c.entry(w, w.place.State, "parked", "an operator can resume or replay it", c.Now()))
	return c.transition(w, guarantee.Parked, time.Time{}, why)
}

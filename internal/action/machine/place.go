package machine

import (
	"encoding/json"
	"time"
)

// Phase says how far a message is within its state.
type Phase string

// The phases.
const (
	Fresh   Phase = ""  // not entered yet
	Running Phase = "r" // a Task whose action was asked for: with an effect, this is the intent
	Retry   Phase = "y" // a Task that will be tried again when Until has come
	Waiting Phase = "w" // a Wait state until Until
	Called  Phase = "c" // a Task whose action has answered, and whose token has not
)

// Place is where a message stands in its workflow; what Guarantee stores with it. How it is written stands in encode.go.
type Place struct {
	State   string          `json:"s"`           //
	Phase   Phase           `json:"p,omitempty"` //
	Input   json.RawMessage `json:"i,omitempty"` // the state's input; absent before a state has given one: JSONPath then takes the message's body
	Attempt int             `json:"a,omitempty"` // of the Task: 1 at first
	Spent   []int           `json:"n,omitempty"` // retries spent, by retrier
	Entered int64           `json:"e,omitempty"` // Unix microseconds: when the attempt began, for its timeout
	Until   int64           `json:"u,omitempty"` // Unix microseconds: of Retry and Waiting
	Limit   int64           `json:"l,omitempty"` // seconds, where TimeoutSeconds is computed
	Pulse   int64           `json:"h,omitempty"` // seconds, where HeartbeatSeconds is computed
	Call    int             `json:"c,omitempty"` // of a Task that waits for an answer: the number of its call; 0: none
	Calls   int             `json:"k,omitempty"` // of the whole workflow: the calls so far
	Drawn   int             `json:"d,omitempty"` // states that drew random values
	Fork    *Fork           `json:"f,omitempty"` // a Parallel or Map under way
	Begun   Begun           `json:"-"`           // Tasks with an effect that were begun at any time: begun again, they are resumed

	whole bool     // it was stored in one piece: the next commit takes it apart
	body  *decoded // of the message, when it was looked at
}

func (p Place) until() time.Time { return time.UnixMicro(p.Until) }

func (p Place) at(state string, input json.RawMessage) Place {
	return Place{State: state, Input: input, Begun: p.Begun, Drawn: p.Drawn, Calls: p.Calls, body: p.body}
}

// begin notes that the effect of a state may happen from now on; it tells whether it may have happened before. The effect's
// key is message and state, with the way into the branch, however often the workflow comes by (I5).
func (m *mover) begin(state string) (before bool) {
	p := &m.root.place
	if p.Begun.Has(state) {
		return true
	}
	apart := m != m.root
	if p.Begun = p.Begun.with(state, apart); apart {
		m.root.changes.put(begunKey + state)
	}
	return false
}

// Restart is the same state, begun anew with nothing spent: what an operator's resume does. A Task is tried again at once,
// and knows that an effect may have happened; one that waits for an answer waits on, for the same. Of a Parallel or Map the
// branches under way are restarted, each where it stands.
func (p Place) Restart() (Place, Changes) {
	var changes Changes
	anew := p.restart(forkKey, &changes)
	if p.whole {
		changes = anew.everything()
	}
	return anew, changes
}

func (p Place) restart(key string, changes *Changes) Place {
	anew := p
	anew.Spent, anew.Entered, anew.Limit, anew.Pulse = nil, 0, 0, 0
	switch {
	case p.Fork != nil:
		anew.Entered = p.Entered
		f := *p.Fork
		for _, i := range f.active {
			b := *f.branches.at(i)
			place := b.place.restart(branchKey(key, i), changes)
			b.place, b.wake = &place, 0
			f.branches = f.branches.with(i, &b)
			changes.put(branchKey(key, i))
		}
		anew.Fork = &f
	case p.Phase == Called:
		anew.Entered, anew.Limit, anew.Pulse = p.Entered, p.Limit, p.Pulse
	case p.Phase == Running || p.Phase == Retry:
		anew.Phase, anew.Until = Retry, 0
	}
	return anew
}

// Replay is the definition's beginning, for a message that stands at p: what was begun stays known.
func (d *Definition) Replay(p Place) (Place, Changes) {
	var changes Changes
	if p.Fork != nil {
		changes.drop(forkKey)
	}
	return Place{State: d.StartAt, Begun: p.Begun, Calls: p.Calls}, changes
}

// Changes are the parts of a place that have changed: to be stored with the place, in the same commit.
type Changes struct {
	dropped []string // keys under which nothing is left of what was stored
	keys    []string // of parts to be written, in their order
	known   map[string]bool
}

func (c *Changes) put(key string) {
	if c.known[key] {
		return
	}
	if c.known == nil {
		c.known = map[string]bool{}
	}
	c.known[key], c.keys = true, append(c.keys, key)
}

func (c *Changes) drop(key string) { c.dropped = append(c.dropped, key) }

// Add puts later changes to the earlier ones.
func (c *Changes) Add(later Changes) {
	c.dropped = append(c.dropped, later.dropped...)
	for _, key := range later.keys {
		c.put(key)
	}
}

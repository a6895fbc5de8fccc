package machine

import (
	"encoding/json"
	"fmt"
	"slices"
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

// Place is where a message stands in its workflow; what Guarantee stores with it. The encoding is JSON with a version.
type Place struct {
	Format  int             `json:"v"`           // of this encoding: 1
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
	Begun   []string        `json:"b,omitempty"` // Tasks with an effect that were begun at any time: begun again, they are resumed
}

// Encode gives the stored form.
func (p Place) Encode() []byte {
	p.Format = 1
	raw, err := json.Marshal(p)
	if err != nil { // only an invalid Input could do that, and inputs were checked when they were made
		panic(fmt.Sprintf("encode the place of a message: %v", err))
	}
	return raw
}

// DecodePlace reads a stored place.
func DecodePlace(raw []byte) (Place, error) {
	var p Place
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("the stored place of the message cannot be read: %w", err)
	}
	if p.Format != 1 {
		return p, fmt.Errorf("the stored place of the message has format %d; this version reads format 1", p.Format)
	}
	return p, nil
}

func (p Place) until() time.Time { return time.UnixMicro(p.Until) }

// Fork is how far the branches of a Parallel, or the iterations of a Map, are.
type Fork struct {
	Total    int               `json:"t"`           // branches or items
	Started  int               `json:"s"`           // of them, in their order
	Turn     int               `json:"n,omitempty"` // the one whose action was asked for
	Failed   int               `json:"x,omitempty"` // tolerated failures of a Map
	Branches []Branch          `json:"b,omitempty"` // under way
	Results  []json.RawMessage `json:"r,omitempty"` // of those that ended, by index; null where there is none yet
}

// Branch is one branch or iteration under way.
type Branch struct {
	Index int             `json:"i"`
	Place Place           `json:"p"`
	Vars  json.RawMessage `json:"e,omitempty"` // its variables, when it has set some
}

func (p Place) at(state string, input json.RawMessage) Place {
	return Place{State: state, Input: input, Begun: p.Begun, Drawn: p.Drawn, Calls: p.Calls}
}

// begin notes that the effect of a state may happen from now on; it tells whether it may have happened before. The effect's
// key is message and state, with the way into the branch, however often the workflow comes by (I5).
func (p *Place) begin(state string) (before bool) {
	if slices.Contains(p.Begun, state) {
		return true
	}
	p.Begun = append(slices.Clone(p.Begun), state) // never the stored slice: a Move changes no input
	return false
}

// Restart is the same state, begun anew with nothing spent: what an operator's resume does. A Task is tried again at once,
// and knows that an effect may have happened; one that waits for an answer waits on, for the same.
func (p Place) Restart() Place {
	anew := p
	anew.Spent, anew.Entered, anew.Limit, anew.Pulse, anew.Fork = nil, 0, 0, 0, nil
	if p.Phase == Called {
		anew.Entered, anew.Limit, anew.Pulse = p.Entered, p.Limit, p.Pulse
	}
	if p.Phase == Running || p.Phase == Retry {
		anew.Phase, anew.Until = Retry, 0
	}
	return anew
}

// Replay is the definition's beginning, for a message that stands at p: what was begun stays known.
func (d *Definition) Replay(p Place) Place {
	return Place{State: d.StartAt, Begun: p.Begun, Calls: p.Calls}
}

package simulate

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
)

// Outcome is what a Task came to: an output, or an error. Times are in seconds from when the Task was asked for.
type Outcome struct {
	Output     json.RawMessage `json:"output"`
	Error      *string         `json:"error"`
	Cause      *string         `json:"cause"`
	After      int64           `json:"after"`      // when it came
	Never      bool            `json:"never"`      // it did not
	Heartbeats []int64         `json:"heartbeats"` // when it was heard of before
}

// Event is the outcome as the machine takes it.
func (o Outcome) Event() machine.Event {
	if o.Error == nil {
		if o.Output == nil {
			o.Output = json.RawMessage("null")
		}
		return machine.Event{Kind: machine.Succeeded, Output: o.Output}
	}
	e := machine.Event{Kind: machine.Failed, Error: *o.Error}
	if o.Cause != nil {
		e.Cause = *o.Cause
	}
	return e
}

// Outcomes gives each state's outcomes in their order; the last one of a state is not repeated. A state inside a branch is
// found by its path first, then by its own name.
type Outcomes map[string][]Outcome

// Name is what the outcomes call a state; known is false when they say nothing of it.
func (o Outcomes) Name(state string) (name string, known bool) {
	if _, known = o[state]; known {
		return state, true
	}
	name = state[strings.LastIndexByte(state, '/')+1:]
	_, known = o[name]
	return name, known
}

// Mock answers Tasks from the outcomes, using them up.
func (o Outcomes) Mock() Mock {
	next := map[string]int{}
	return func(r machine.Run) (Outcome, error) {
		name, _ := o.Name(r.State)
		i := next[name]
		if i >= len(o[name]) {
			return Outcome{}, fmt.Errorf("%w %s, attempt %d", ErrNoOutcome, r.State, r.Attempt)
		}
		next[name]++
		return o[name][i], nil
	}
}

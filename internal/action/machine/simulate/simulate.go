// Package simulate runs workflows offline: no action runs, no time passes.
//
// Contract: Execute drives a definition from an input to its end with package machine alone. What a Task would do is asked of
// a Mock; where the workflow waits, a virtual clock jumps ahead. The place of the message is written and read at every step,
// as Guarantee does, so what runs here also survives a crash at every step. The same inputs give the same Result.
//
// Where a Task waits for an answer to its token, what is mocked is the answer, not what the action comes to.
package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
)

// ErrNoOutcome is a Mock's answer for a Task of which it knows nothing.
var ErrNoOutcome = errors.New("there is no mocked outcome for the Task")

// Mock tells what a Task comes to.
type Mock func(machine.Run) (Outcome, error)

// Options of an execution. Zero values are good.
type Options struct {
	Input   json.RawMessage
	Mock    Mock
	Start   time.Time // of the virtual clock; the first day of 2026 when zero
	Context json.RawMessage
	Message map[string]any // what CEL expressions see of the message, beside its body
	Seed    string
	Random  float64
	Stop    func(machine.Move) bool // ends the execution after a Move
	Crash   func(machine.Run) bool  // tells whether the process dies before the action has answered
}

// Result is how an execution ended.
type Result struct {
	Done   *machine.Done // nil when it was stopped
	Last   machine.Move
	Visits []machine.Visit
	Runs   []machine.Run
	Took   time.Duration // by the virtual clock
}

// simulated is what the context object's names begin with.
const simulated = "simulation"

// MaxMoves bounds an execution.
const MaxMoves = 100_000

// Execute runs a definition. An error is a mistake of the caller or of the Mock; a workflow that fails is a Result.
func Execute(d *machine.Definition, o Options) (Result, error) {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.Input == nil {
		o.Input = json.RawMessage("{}")
	}
	e := execution{def: d, options: o, now: o.Start, place: d.Start().Encode(), replies: map[int]machine.Reply{}}
	for range MaxMoves {
		ended, err := e.step()
		if ended || err != nil {
			e.result.Took = e.now.Sub(o.Start)
			return e.result, err
		}
	}
	return e.result, fmt.Errorf("the workflow %s was not at its end after %d moves", d.Name, MaxMoves)
}

type execution struct {
	def     *machine.Definition
	options Options
	now     time.Time
	place   []byte
	ext     json.RawMessage
	event   machine.Event
	replies map[int]machine.Reply
	coming  []arrival
	result  Result
}

// step makes one Move and lets happen what it asks for.
func (e *execution) step() (ended bool, err error) {
	place, err := machine.DecodePlace(e.place)
	if err != nil {
		return false, err
	}
	move := e.def.Next(place, e.ext, e.event, e.env())
	e.place, e.ext = move.Place.Encode(), move.Ext
	e.result.Last, e.result.Done = move, move.Done
	e.result.Visits = append(e.result.Visits, move.Visits...)
	if move.Done != nil || e.options.Stop != nil && e.options.Stop(move) {
		return true, nil
	}
	if move.Run == nil {
		e.event = machine.Event{Kind: machine.Fed}
		e.wait(move.Wait)
		return false, nil
	}
	if e.options.Crash != nil && e.options.Crash(*move.Run) {
		e.event = machine.Event{Kind: machine.Fed}
		return false, nil
	}
	e.result.Runs = append(e.result.Runs, *move.Run)
	if e.options.Mock == nil {
		return false, fmt.Errorf("state %s: %w", move.Run.State, ErrNoOutcome)
	}
	outcome, err := e.options.Mock(*move.Run)
	if err != nil {
		return false, fmt.Errorf("state %s: %w", move.Run.State, err)
	}
	e.event = e.come(move.Run, outcome)
	return false, nil
}

func (e *execution) env() machine.Env {
	return machine.Env{
		Now: e.now, Random: e.options.Random, Seed: "seed " + e.options.Seed, Body: e.options.Input, Context: e.options.Context,
		Execution: machine.Execution{ID: simulated + ":" + e.def.Name, Name: simulated, Role: simulated, Started: e.options.Start},
		Message:   e.message,
		Token:     e.token, Replies: e.replies,
	}
}

func (e *execution) message() any {
	message := map[string]any{"id": "simulation", "type": e.def.Name, "body": e.options.Input}
	for name, v := range e.options.Message {
		message[name] = v
	}
	return message
}

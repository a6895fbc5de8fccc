// Package simulate runs workflows offline: no action runs, no time passes.
//
// Contract: Execute drives a definition from an input to its end with package machine alone. What a Task would do is asked of
// a Mock; where the workflow waits, a virtual clock jumps ahead. Actions that branches ask for at once begin at one time, and
// answer in the order of their states' names. The place of the message is stored at every step as Guarantee does, part by
// part, and read again after a simulated crash. The same inputs give the same Result.
//
// Where a Task waits for an answer to its token, what is mocked is the answer, not what the action comes to.
package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// An execution is bounded: in its moves, and, as branches go on side by side within one move, in what happens in its states.
const (
	MaxMoves  = 100_000
	MaxVisits = 1_000_000
)

// Execute runs a definition. An error is a mistake of the caller or of the Mock; a workflow that fails is a Result.
func Execute(d *machine.Definition, o Options) (Result, error) {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.Input == nil {
		o.Input = json.RawMessage("{}")
	}
	e := execution{def: d, options: o, now: o.Start, place: d.Start(), events: []machine.Event{{Kind: machine.Fed}}, replies: map[int]machine.Reply{}}
	for range MaxMoves {
		ended, err := e.step()
		if ended || err != nil {
			e.result.Took = e.now.Sub(o.Start)
			return e.result, err
		}
		if e.visits += len(e.result.Last.Visits); e.visits > MaxVisits {
			return e.result, fmt.Errorf("the workflow %s was not at its end after %d visits of its states; look for a loop that never leaves", d.Name, MaxVisits)
		}
	}
	return e.result, fmt.Errorf("the workflow %s was not at its end after %d moves; look for a loop that never leaves", d.Name, MaxMoves)
}

type execution struct {
	def     *machine.Definition
	options Options
	now     time.Time
	place   machine.Place
	ext     json.RawMessage
	stored  stored
	events  []machine.Event // that have not been told yet
	asked   []asked
	wake    time.Time
	replies map[int]machine.Reply
	coming  []arrival
	heard   bool // replies have come in that have not been told yet
	visits  int
	result  Result
}

// stored is what Guarantee would hold.
type stored struct {
	place []byte
	parts map[string][]byte
}

// keep stores a place as a commit does: the parts that have changed.
func (s *stored) keep(p machine.Place, changed machine.Changes) {
	if s.parts == nil {
		s.parts = map[string][]byte{}
	}
	s.place = p.Encode()
	for _, part := range p.Parts(changed) {
		if part.Data != nil {
			s.parts[part.Key] = part.Data
			continue
		}
		for key := range s.parts {
			if key == part.Key || strings.HasSuffix(part.Key, "/") && strings.HasPrefix(key, part.Key) {
				delete(s.parts, key)
			}
		}
	}
}

// read gives the place back.
func (s *stored) read() (machine.Place, error) {
	var parts []machine.Part
	for _, key := range slices.Sorted(maps.Keys(s.parts)) {
		parts = append(parts, machine.Part{Key: key, Data: s.parts[key]})
	}
	return machine.DecodePlace(s.place, parts)
}

// step makes one Move and lets happen what it asks for.
func (e *execution) step() (ended bool, err error) {
	event, err := e.next()
	if err != nil {
		return false, err
	}
	move := e.def.Next(e.place, e.ext, event, e.env())
	e.place, e.ext, e.wake = move.Place, move.Ext, move.Wait
	e.stored.keep(move.Place, move.Changes)
	e.result.Last, e.result.Done = move, move.Done
	e.result.Visits = append(e.result.Visits, move.Visits...)
	if move.Done != nil || e.options.Stop != nil && e.options.Stop(move) {
		return true, nil
	}
	for _, way := range move.Dropped {
		e.asked = slices.DeleteFunc(e.asked, func(a asked) bool { return strings.HasPrefix(a.run.State, way) })
	}
	for _, run := range move.Runs {
		e.asked = append(e.asked, asked{run, e.now})
	}
	return false, nil
}

// asked is an action that was asked for and has not answered yet.
type asked struct {
	run machine.Run
	at  time.Time
}

// next is what happens next: a time has come or something was heard, an action answers, the process dies before, or time passes.
func (e *execution) next() (machine.Event, error) {
	switch {
	case len(e.events) > 0:
		event := e.events[0]
		e.events = e.events[1:]
		return event, nil
	case e.heard || !e.wake.IsZero() && !e.wake.After(e.now):
		e.heard = false
		return machine.Event{Kind: machine.Due}, nil
	case len(e.asked) == 0:
		e.wait(e.wake)
		e.heard = false
		return machine.Event{Kind: machine.Due}, nil
	}
	slices.SortStableFunc(e.asked, func(a, b asked) int { return strings.Compare(a.run.State, b.run.State) })
	first := e.asked[0]
	if e.options.Crash != nil && e.options.Crash(first.run) {
		return machine.Event{Kind: machine.Fed}, e.crash()
	}
	e.asked = e.asked[1:]
	e.result.Runs = append(e.result.Runs, first.run)
	if e.options.Mock == nil {
		return machine.Event{}, fmt.Errorf("state %s: %w", first.run.State, ErrNoOutcome)
	}
	outcome, err := e.options.Mock(first.run)
	if err != nil {
		return machine.Event{}, fmt.Errorf("state %s: %w", first.run.State, err)
	}
	event := e.come(first, outcome)
	event.State = first.run.State
	return event, nil
}

// crash forgets all that is not stored.
func (e *execution) crash() (err error) {
	e.asked = nil
	e.place, err = e.stored.read()
	return err
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
	return map[string]any{"id": "simulation", "type": e.def.Name, "body": e.options.Input}
}

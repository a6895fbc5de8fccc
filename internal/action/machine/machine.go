// Package machine is the state machine engine: it says what a message does next, and does nothing itself.
//
// A Definition is a workflow in the Amazon States Language (states-language.net), loaded from YAML or JSON and checked. Next
// is a pure function: (definition, place, ext, what happened, now) → (new place, new ext, the action to run, the time to
// wait for, or the end). It does no I/O, never reads a clock and has no randomness of its own: the same inputs give the same
// Move on every binary. Choice and Pass states are passed through in the same call; each leaves a Visit.
//
// In CEL (QueryLanguage: CEL), expressions stand inside "{% … %}", in the places where ASL's JSONata mode has them: Arguments,
// Output, Assign, Condition, Seconds, Timestamp, Error, Cause. They see message (the signed instruction), vars (the ext) and
// states.input, states.result, states.errorOutput, states.context. What Assign sets becomes part of the ext.
//
// A state's data flows in one of two query languages. JSONPath, which the language assumes, is read as Step Functions reads
// it: InputPath, Parameters, ResultSelector, ResultPath, OutputPath and Assign; the first state's input is the message's body.
//
// Branches of a Parallel and iterations of a Map go on side by side: a Move asks for as many actions as branches have come to
// one, and each answer, an Event that names its state, lets its own branch go on. Their states are named by the way to them,
// "Fan/0/Pay", in Runs, Events and Visits. A Move tells which parts of the place it has changed (see encode.go).
//
// A Task whose Resource ends in .waitForTaskToken hands a token out and waits for an answer to it. Each of its attempts is a
// call, numbered through the whole workflow; a Move tells which calls it opens and closes, and Env what came in for the open
// ones. The token itself is made by Env.Token of state and call, so that it is the same after a crash and is stored nowhere.
//
// What is missing of the language is refused when a definition is loaded, never ignored.
package machine

import (
	"encoding/json"
	"time"
)

// Event is what happened since the last Move.
type Event struct {
	Kind    Kind
	State   string          // of Succeeded, Failed and Later: that of the Run; may be empty where no branches are under way
	Output  json.RawMessage // of Succeeded
	Error   string          // of Failed: the error name that Retry and Catch compare
	Cause   string          // of Failed: a sentence
	Details json.RawMessage // of Failed: what a Catch in CEL sees as states.errorOutput.Details; nil for none
}

// Kind of an event.
type Kind uint8

// The kinds.
const (
	Fed       Kind = iota // the message was fed: it is new, or its time has come, or it was interrupted. No action is running
	Succeeded             // the action that Run asked for has answered
	Failed                // the action has failed
	Later                 // the action is not finished and wants to be asked again
	Due                   // a time that was waited for has come, while actions may be running
)

// Env is what a Move may depend on besides place and ext.
type Env struct {
	Now     time.Time
	Random  float64    // in [0, 1): spreads retries whose JitterStrategy is FULL
	Message func() any // the signed instruction, decoded for CEL; called when an expression needs it

	Body      json.RawMessage // of the message: the input of the first state, and of the execution
	Execution Execution       // for the context object
	Context   json.RawMessage // the context object itself, in place of one that is made; for trying out a state
	Seed      string          // the message's own: what States.UUID and States.MathRandom draw from

	Token   func(state string, call int) string // makes the token of a call; nil: none are given out
	Replies map[int]Reply                       // what has come in for open calls, by number

	// Withdraws tells of an action that it says itself when its state's time is over: it is asked once more then; nil: none does.
	Withdraws func(action string) bool
}

// Reply is what has come in for a call.
type Reply struct {
	Beat   time.Time // when the last heartbeat came; zero: none did
	Answer *Event    // Succeeded or Failed; nil: none came
	By     string    // who answered
}

// Call is one attempt of a Task that waits for an answer to its token.
type Call struct {
	Number    int           // within the message, from 1
	State     string        // the way to it, as in Run
	Until     time.Time     // when the answer comes too late
	Heartbeat time.Duration // how often something must be heard; 0: need not
}

// Move is the answer of Next. With Done there is nothing else to do. Otherwise Runs are to begin, something may be waited for,
// and the answers of Runs of earlier Moves, except dropped ones, are still expected.
type Move struct {
	Place   Place
	Ext     json.RawMessage
	Visits  []Visit
	Runs    []Run
	Wait    time.Time // the earliest time at which there is something to do without an answer; zero: none
	Done    *Done
	Dropped []string // how the names begin of states whose Runs are abandoned: their answers do not count any more
	Changes Changes  // the parts of Place that have changed

	Opened []Call // calls that take an answer from now on: to be stored before the action runs
	Closed []int  // calls that take none any more
	Open   int    // calls that are open after the Move
}

// Visit is something that happened in a state, for the history.
type Visit struct {
	State string
	What  string // "entered", "succeeded", "caught", "retry", "passed", "chose", "waiting", "waited", "answered", "ended"
	Note  string
}

// Run asks for an action.
type Run struct {
	State     string
	Action    string
	Effect    bool // commit the Place before running
	Arguments json.RawMessage
	Attempt   int
	Resumed   bool      // an earlier run of this attempt may have been cut off
	Begun     []string  // the states whose effect may have happened, at any time
	Since     time.Time // when the attempt began
	Deadline  time.Time // zero: none
	Withdraws bool      // it is not cut off at the deadline, but asked once more after it

	Heartbeat time.Duration // how often the action must report; 0: need not
	Call      int           // the call that the action hands the token of out; 0: none
	Token     string        // its token: who has it can answer, so it goes to nobody else and into no log
}

// Done is the end of a workflow.
type Done struct {
	Succeeded bool
	Uncaught  bool // failed because no Catch matched: not an end that the workflow foresees
	Error     string
	Cause     string
	Output    json.RawMessage
}

// The error names that the language reserves and this package gives.
const (
	ErrAll       = "States.ALL"
	ErrTask      = "States.TaskFailed"
	ErrTimeout   = "States.Timeout"
	ErrRuntime   = "States.Runtime"
	ErrNoChoice  = "States.NoChoiceMatched"
	ErrQuery     = "States.QueryEvaluationError"
	ErrDataLimit = "States.DataLimitExceeded"

	ErrHeartbeat  = "States.HeartbeatTimeout"
	ErrResultPath = "States.ResultPathMatchFailure"
	ErrIntrinsic  = "States.IntrinsicFailure"
	ErrBranch     = "States.BranchFailed"
	ErrTolerated  = "States.ExceedToleratedFailureThreshold"
)

// Limits of the language.
const (
	MaxData  = 256 << 10 // bytes of a state's input or output
	MaxChain = 1000      // states passed through in one Move

	MaxItems  = 10000   // of a Map
	MaxPassed = 100_000 // states passed through in one Move, in all branches

	maxSeconds = 99999999
)

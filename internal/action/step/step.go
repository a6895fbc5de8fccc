// Package step holds the actions: named pieces of work that a workflow's Task states run.
//
// An action is stateless. It gets tasks and answers one Outcome each; the controller commits. An action with an outside
// effect (Effect) is run only after the intent, the transition into its state, is durable; when a Task is Resumed its
// effect may already have happened, and the action looks first (I5).
package step

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/problem"
)

// Task is one message at a Task state.
type Task struct {
	Record    *guarantee.Record // the message; not to be changed
	State     string            // the state's name: with the message id the key of this step's effect
	Arguments json.RawMessage   // what the state's Arguments evaluated to, or the state's input
	Attempt   int               // 1 at first, grows with each retry
	Overdue   bool              // an action that Withdraws: the state's time is over
	Resumed   bool              // an earlier run may have had its effect and been cut off
	Begun     []string          // the states whose effect may have happened, this one or others: more than none after a replay
	Call      int               // numbers the attempts of the message that wait for an answer; 0: this one does not
	Token     string            // the task token, where the state waits for an answer: to be handed to who is to answer, and kept out of logs, notes and errors (I25)
	Beat      func()            // reports that the action is still at work; where the state has HeartbeatSeconds, one that did not for so long is cut off through its context. Never nil
}

// Key names the task's effect within its message: the state and, where the state waits for an answer, the attempt as well,
// because each attempt hands out a token of its own.
func (t Task) Key() string {
	if t.Call == 0 {
		return t.State
	}
	return t.State + "#" + strconv.Itoa(t.Call)
}

// Outcome is what an action answers for one task: exactly one of Output, Err or Later counts, in the order Err, Later, Output.
type Outcome struct {
	Output  any           // marshalled to JSON as the state's result; nil is {}. With Err: what a Catch sees as Details
	Note    string        // one line for the history: which rule decided, which hash was sent
	Err     error         // its problem code is the error name that Retry and Catch see
	Later   time.Duration // not finished: run the same task again after this long, or after a tenth of the time that it takes already, up to five minutes; not an attempt
	Archive bool          // the commit that ends the workflow moves the message into the archive
}

// Action is a registered piece of work.
type Action struct {
	Name      string
	Effect    bool                   // touches something outside of Guarantee: committed before it begins and never chained
	Withdraws bool                   // when its state's time is over it is asked once more, with an Overdue task: it gives up what nobody has begun, and answers ErrTimeout, or goes on
	Undo      string                 // the name of the action that takes back what this one has done, where a workflow has to say when; "": none
	Parks     bool                   // without an effect it can hold a message up until an operator or time moves it on: a loop through it pauses
	Batch     int                    // most tasks in one Run; 0 means 1
	Parallel  int                    // most Runs at once, those of lanes that are held up left out; 0 means 16
	Lane      func(task Task) string // where tasks can wait for one another: those of one lane are run one Run after the other, and each lane for itself; nil: they do not
	Run       func(ctx context.Context, tasks []Task) []Outcome
}

// Each makes a Run of a function for one task. The result is the state's Output.
func Each(fn func(ctx context.Context, task Task) (any, error)) func(context.Context, []Task) []Outcome {
	return func(ctx context.Context, tasks []Task) []Outcome {
		out := make([]Outcome, len(tasks))
		for i, task := range tasks {
			out[i].Output, out[i].Err = fn(ctx, task)
		}
		return out
	}
}

// Registry finds actions by name.
type Registry struct{ actions map[string]Action }

// NewRegistry registers the actions; two of one name are a mistake of the program.
func NewRegistry(actions ...Action) (*Registry, error) {
	r := &Registry{actions: make(map[string]Action, len(actions))}
	for _, a := range actions {
		if _, taken := r.actions[a.Name]; taken {
			return nil, fmt.Errorf("the action %q is registered twice", a.Name)
		}
		r.actions[a.Name] = a
	}
	return r, nil
}

// Get finds an action.
func (r *Registry) Get(name string) (Action, error) {
	a, ok := r.actions[name]
	if !ok {
		return Action{}, problem.New(problem.Invalid, "action-unknown", "there is no action %q; there are %v", name, r.Names())
	}
	return a, nil
}

// Effect tells of an action whether it is registered and has an outside effect; the machine's loader asks.
func (r *Registry) Effect(name string) (effect, known bool) {
	a, known := r.actions[name]
	return a.Effect, known
}

// Undo names the action that takes back what one has done; the machine's loader asks.
func (r *Registry) Undo(name string) string { return r.actions[name].Undo }

// Withdraws tells of an action whether it says itself that its time is over; the machine asks.
func (r *Registry) Withdraws(name string) bool { return r.actions[name].Withdraws }

// Parks tells of an action whether it can hold a message up; the machine's loader asks.
func (r *Registry) Parks(name string) bool { return r.actions[name].Parks }

// Names lists the registered names in order.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.actions))
	for name := range r.actions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// TestState is how one state is tried out alone.
type TestState struct {
	Context json.RawMessage `json:"context"` // the context object, or a string that holds it
	Name    string          `json:"stateName"`
	Mock    *struct {
		Result      json.RawMessage `json:"result"` // a value, or a string that holds it
		ErrorOutput *struct {
			Error string `json:"error"`
			Cause string `json:"cause"`
		} `json:"errorOutput"`
	} `json:"mock"`
	Configuration struct {
		Retries int    `json:"retrierRetryCount"` // already spent
		From    string `json:"errorCausedByState"`
	} `json:"stateConfiguration"`
}

// unwrap opens a string that holds JSON.
func unwrap(raw json.RawMessage) json.RawMessage {
	var s string
	if json.Unmarshal(raw, &s) == nil && json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	return raw
}

const defaultName = "State"

// state runs one state and looks where it leads.
func (c *Case) state() error {
	name := c.TestState.Name
	if name == "" {
		name = c.stateInContext()
	}
	d, err := c.wrap(name)
	if err != nil {
		if c.Expect.Status == "REJECTED" {
			return nil
		}
		return err
	}
	left := false
	if c.Expect.Status == "REJECTED" {
		return c.rejected(d.States[name])
	}
	o := Options{Input: c.Input, Mock: c.answer, Seed: c.ID, Context: unwrap(c.TestState.Context)}
	o.Stop = func(m machine.Move) bool {
		left = m.Place.State != name || m.Place.Phase == machine.Retry
		return left
	}
	r, err := Execute(d, o)
	if err != nil {
		return err
	}
	if r.Done != nil {
		return c.compare(r.Done)
	}
	return c.went(r.Last)
}

// rejected looks for what the request to try out a state has wrong in itself.
func (c *Case) rejected(st *machine.State) error {
	var context map[string]json.RawMessage
	if raw := unwrap(c.TestState.Context); raw != nil && json.Unmarshal(raw, &context) != nil {
		return nil //nolint:nilerr // a context that is not JSON is what the request has wrong
	}
	waits := strings.Contains(st.Resource, ".sync") || strings.Contains(st.Resource, ".waitForTaskToken")
	forks := st.Type == machine.Parallel || st.Type == machine.Map
	mock := c.TestState.Mock
	switch {
	case context["Task"] != nil && !waits,
		mock == nil && (waits || forks), // nothing of its own can be run
		mock != nil && st.Type != machine.Task && !forks,
		mock != nil && mock.Result != nil && mock.ErrorOutput != nil:
		return nil
	}
	return errors.New("the request was taken, and should have been rejected")
}

// went compares a state that leads to another, or is to be tried again.
func (c *Case) went(m machine.Move) error {
	status := "SUCCEEDED"
	for _, v := range m.Visits {
		switch v.What {
		case "caught":
			status = "CAUGHT_ERROR"
		case "retry":
			status = "RETRIABLE"
		}
	}
	if status != c.Expect.Status {
		return fmt.Errorf("it ended %s, want %s", status, c.Expect.Status)
	}
	if status == "RETRIABLE" {
		return nil
	}
	if c.Expect.Next != "" && m.Place.State != c.Expect.Next {
		return fmt.Errorf("it leads to %s, want %s", m.Place.State, c.Expect.Next)
	}
	return c.output(m.Place.Input)
}

// answer is what the Task comes to: what was mocked, or the recorded result of one that really ran.
func (c *Case) answer(machine.Run) (Outcome, error) {
	m, recorded := c.TestState.Mock, c.Expect.Inspection.Result
	switch {
	case m == nil && recorded != nil:
		return Outcome{Output: unwrap(recorded)}, nil
	case m == nil:
		return Outcome{}, ErrNoOutcome
	case m.ErrorOutput != nil:
		return Outcome{Error: &m.ErrorOutput.Error, Cause: &m.ErrorOutput.Cause}, nil
	}
	return Outcome{Output: unwrap(m.Result)}, nil
}

func (c *Case) stateInContext() string {
	var context struct {
		State struct{ Name string }
	}
	if json.Unmarshal(unwrap(c.TestState.Context), &context) == nil && context.State.Name != "" {
		return context.State.Name
	}
	return defaultName
}

// wrap makes a workflow of the one state: all that it leads to are Wait states.
func (c *Case) wrap(name string) (*machine.Definition, error) {
	v, err := value.Decode(c.Definition)
	if err != nil {
		return nil, err
	}
	state, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the definition of the state is not an object")
	}
	if inner, ok := state["States"].(map[string]any); ok { // a whole workflow, of which one state is tried out
		if state = pick(inner, name); state == nil {
			return nil, fmt.Errorf("the workflow has no state %q", name)
		}
	}
	if c.TestState.Mock != nil && (state["Type"] == string(machine.Parallel) || state["Type"] == string(machine.Map)) {
		state = mocked(state)
	}
	states := map[string]any{name: state}
	for _, next := range leadsTo(state) {
		if states[next] == nil {
			states[next] = map[string]any{"Type": "Wait", "Seconds": json.Number("1"), "End": true}
		}
	}
	raw, err := value.Encode(map[string]any{"StartAt": name, "States": states}, 1<<24)
	if err != nil {
		return nil, err
	}
	return machine.Load("state", raw, anyAction)
}

// pick finds a state by its name, in branches too; nil when there is none.
func pick(states map[string]any, name string) map[string]any {
	if state, ok := states[name].(map[string]any); ok {
		return state
	}
	for _, other := range states {
		state, _ := other.(map[string]any)
		branches, _ := state["Branches"].([]any)
		for _, branch := range append([]any{state["ItemProcessor"], state["Iterator"]}, branches...) {
			inner, _ := branch.(map[string]any)
			within, _ := inner["States"].(map[string]any)
			if found := pick(within, name); found != nil {
				return found
			}
		}
	}
	return nil
}

// mocked is a Task in the place of a Parallel or Map whose result is mocked as a whole.
func mocked(state map[string]any) map[string]any {
	task := map[string]any{"Type": "Task", "Resource": "mock"}
	for _, field := range []string{"Comment", "InputPath", "ResultSelector", "ResultPath", "OutputPath", "Assign", "Next", "End", "Retry", "Catch"} {
		if v, there := state[field]; there {
			task[field] = v
		}
	}
	return task
}

func leadsTo(state map[string]any) []string {
	var next []string
	add := func(v any) {
		if s, ok := v.(string); ok {
			next = append(next, s)
		}
	}
	add(state["Next"])
	add(state["Default"])
	for _, field := range []string{"Choices", "Catch"} {
		list, _ := state[field].([]any)
		for _, item := range list {
			if object, ok := item.(map[string]any); ok {
				add(object["Next"])
			}
		}
	}
	return next
}

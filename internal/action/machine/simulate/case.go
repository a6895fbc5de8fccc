package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// Case is a definition, an input, what its Tasks come to, and what is expected: one line of a file of cases.
type Case struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"` // "execution", which is assumed, "test_state" or "validate"
	Tier       string          `json:"tier"`
	Flags      []string        `json:"flags"`
	Definition json.RawMessage `json:"definition"`
	Input      json.RawMessage `json:"input"`
	Type       string          `json:"type"` // of the workflow: "EXPRESS" has no activities
	Tasks      []struct {
		State   *string         `json:"state"` // null: not known when it was recorded, and found by the input
		Input   json.RawMessage `json:"input"`
		Outcome Outcome         `json:"outcome"`
	} `json:"tasks"`
	TestState TestState   `json:"test_state"`
	Expect    Expectation `json:"expect"`
}

// Expectation is how a case ends.
type Expectation struct {
	Status string          `json:"status"` // SUCCEEDED, FAILED, TIMED_OUT, ABORTED, INVALID; of one state also CAUGHT_ERROR, RETRIABLE, REJECTED
	Output json.RawMessage `json:"output"`
	Error  string          `json:"error"`
	Next   string          `json:"nextState"`

	Inspection struct {
		Result json.RawMessage `json:"result"`
	} `json:"inspectionData"`
}

// anyAction takes every Resource: what it does is mocked.
func anyAction(string) (effect, known bool) { return false, true }

// Check runs the case. The error says how its outcome differs from what is expected; nil: it does not.
func (c *Case) Check() error {
	switch c.Kind {
	case "", "execution":
		return c.execution()
	case "test_state":
		return c.state()
	case "validate":
		return c.validated()
	}
	return fmt.Errorf("a case of kind %q is not known; execution, test_state and validate are", c.Kind)
}

// validated looks whether the definition is refused, which is what cases of this kind are mostly about.
func (c *Case) validated() error {
	_, err := c.load()
	if !slices.Contains([]string{"", "INVALID", "FAIL"}, c.Expect.Status) {
		return err
	}
	if err == nil {
		return errors.New("the definition was taken, and should have been refused")
	}
	return nil
}

func (c *Case) load() (*machine.Definition, error) {
	source := c.Definition
	if text, err := value.Decode(source); err == nil {
		if s, ok := text.(string); ok { // YAML, or JSON in a string
			source = json.RawMessage(s)
		}
	}
	return machine.Load("case", source, anyAction)
}

// loosely tells whether values were blanked when the case was recorded.
func (c *Case) loosely() bool {
	return strings.HasSuffix(c.Tier, "redacted") || slices.Contains(c.Flags, "redacted")
}

func (c *Case) execution() error {
	d, err := c.load()
	if err != nil {
		return err
	}
	o := Options{Input: c.Input, Mock: c.mock(), Seed: c.ID}
	if c.Expect.Status == "ABORTED" { // somebody stopped it while it waited
		o.Stop = func(m machine.Move) bool { return m.Done == nil }
	}
	r, err := Execute(d, o)
	if err != nil {
		return err
	}
	if r.Done == nil {
		return nil
	}
	return c.compare(r.Done)
}

// mock answers each Task with the next outcome of its state, or else with that of its input.
func (c *Case) mock() Mock {
	outcomes, used := Outcomes{}, map[int]bool{}
	for _, t := range c.Tasks {
		if t.State != nil {
			outcomes[*t.State] = append(outcomes[*t.State], t.Outcome)
		}
	}
	byState := outcomes.Mock()
	return func(r machine.Run) (Outcome, error) {
		for i, t := range c.Tasks {
			if t.State == nil && !used[i] && c.alike(r.Arguments, t.Input) {
				used[i] = true
				return t.Outcome, nil
			}
		}
		return byState(r)
	}
}

func (c *Case) alike(got, want json.RawMessage) bool {
	g, errGot := value.Decode(got)
	w, errWant := value.Decode(want)
	return errGot == nil && errWant == nil && Difference(g, w, c.loosely()) == ""
}

func (c *Case) compare(done *machine.Done) error {
	status, want := "SUCCEEDED", c.Expect.Status
	if !done.Succeeded {
		status = "FAILED"
	}
	if want == "TIMED_OUT" && done.Error == machine.ErrTimeout {
		status = want
	}
	switch {
	case status != want:
		return fmt.Errorf("it ended %s (%s), want %s %s", status, ending(done), want, c.Expect.Error)
	case done.Succeeded:
		return c.output(done.Output)
	case status == "TIMED_OUT" && c.Expect.Error == "":
		return nil
	case done.Error != c.Expect.Error:
		return fmt.Errorf("the error is %q (%s), want %q", done.Error, done.Cause, c.Expect.Error)
	}
	return nil
}

func ending(done *machine.Done) string {
	if done.Succeeded {
		return "with the output " + string(done.Output[:min(len(done.Output), 200)])
	}
	return done.Error + ": " + done.Cause
}

// output compares what came out, where the case says what should.
func (c *Case) output(raw json.RawMessage) error {
	if c.Expect.Output == nil {
		return nil
	}
	got, err := value.Decode(raw)
	if err != nil {
		return fmt.Errorf("the output is not JSON: %w", err)
	}
	want, err := value.Decode(c.Expect.Output)
	if err != nil {
		return fmt.Errorf("the expected output: %w", err)
	}
	if d := Difference(got, want, c.loosely()); d != "" {
		return errors.New("the output: " + d)
	}
	return nil
}

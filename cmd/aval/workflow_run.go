package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/machine/simulate"
	"github.com/avalhq/aval/internal/problem"
)

type workflowRun struct {
	File  string `arg:"" help:"The definition, in YAML or JSON."`
	Input string `help:"A file with the input, in YAML or JSON: the body of the message." placeholder:"FILE"`
	Mock  string `help:"A file that says what Tasks come to, in YAML or JSON." placeholder:"FILE"`
	Seed  string `help:"What States.UUID and States.MathRandom draw from."`
}

// Help is shown by aval workflow run --help.
func (workflowRun) Help() string {
	return `No action runs: a Task answers with what the mock file says for its state, in order, and with an empty object where it says nothing. Waits and retries take no time, but are shown. Resources need not be registered.

A mock file has a list for each state:

    Send: [{error: chain-unreachable, cause: refused}, {output: {hash: "0x01"}}]

    aval workflow run transfer.v1.yaml --input body.json --mock outcomes.yaml`
}

// Run is the command.
func (c *workflowRun) Run(s *screen) error {
	d, err := offline(s, c.File)
	if err != nil {
		return err
	}
	o := simulate.Options{Seed: c.Seed}
	if c.Input != "" {
		if o.Input, err = readInput(c.Input, s.in); err != nil {
			return err
		}
		if o.Input, err = machine.JSON(o.Input); err != nil {
			return misused("input-invalid", "%s: %w", c.Input, err)
		}
	}
	if o.Mock, err = c.mock(s); err != nil {
		return err
	}
	r, err := simulate.Execute(d, o)
	if err != nil {
		return problem.New(problem.Unprocessable, "run-failed", "%w", err)
	}
	c.show(s, r)
	if !r.Done.Succeeded {
		return problem.New(problem.Unprocessable, "workflow-failed", "the workflow failed with %s: %s", r.Done.Error, r.Done.Cause)
	}
	return nil
}

// inFile tells of a definition that cannot be used where it was read.
func inFile(file string, err error) error {
	var found machine.Findings
	if errors.As(err, &found) {
		return found.Refused(file)
	}
	return err
}

// mock reads the outcomes of Tasks.
func (c *workflowRun) mock(s *screen) (simulate.Mock, error) {
	nothing := func(machine.Run) (simulate.Outcome, error) {
		return simulate.Outcome{Output: json.RawMessage("{}")}, nil
	}
	if c.Mock == "" {
		return nothing, nil
	}
	raw, err := readInput(c.Mock, s.in)
	if err != nil {
		return nil, err
	}
	if raw, err = machine.JSON(raw); err != nil {
		return nil, misused("mock-invalid", "%s: %w", c.Mock, err)
	}
	var outcomes simulate.Outcomes
	if err := json.Unmarshal(raw, &outcomes); err != nil {
		return nil, misused("mock-invalid", "%s is not a list of outcomes for each state: %w", c.Mock, err)
	}
	answer := outcomes.Mock()
	return func(r machine.Run) (simulate.Outcome, error) {
		if _, known := outcomes.Name(r.State); !known {
			return nothing(r)
		}
		return answer(r)
	}, nil
}

func (c *workflowRun) show(s *screen, r simulate.Result) {
	type visit struct {
		State string `json:"state"`
		What  string `json:"what"`
		Note  string `json:"note,omitempty"`
	}
	visits, rows := []visit{}, [][]string{}
	for _, v := range r.Visits {
		visits, rows = append(visits, visit(v)), append(rows, []string{v.State, v.What, v.Note})
	}
	answer := map[string]any{"visits": visits, "succeeded": r.Done.Succeeded, "took": r.Took.String()}
	if r.Done.Succeeded {
		answer["output"] = r.Done.Output
	} else {
		answer["error"], answer["cause"] = r.Done.Error, r.Done.Cause
	}
	s.answer(answer, func() {
		s.table([]string{"STATE", "WHAT", "NOTE"}, rows, "No state was left.")
		s.say("%s", fmt.Sprintf("It took %s.", r.Took))
		if r.Done.Succeeded {
			s.say("%s", r.Done.Output)
		}
	})
}

package main

import (
	"fmt"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/problem"
)

type workflowDiff struct {
	A        string `arg:"" help:"The definition to compare with, in YAML or JSON."`
	B        string `arg:"" help:"The definition that is looked at."`
	ExitCode bool   `help:"End with exit code 1 when they differ."`
}

// Help is shown by aval workflow diff --help.
func (workflowDiff) Help() string {
	return `It tells what messages would notice: states that came or went, where they lead, what they run, how they retry and catch, their expressions. Comments, order, and how a thing is written (YAML or JSON, blanks, defaults) make no difference.

Then it tells whether messages that stand in a state of A could go on in B: that the state is there, and is of the same type, runs the same action, has its data in the same language, and the same number of branches.

    aval workflow diff workflows/transfer.v1.yaml changed/transfer.v1.yaml`
}

// Run is the command.
func (c *workflowDiff) Run(s *screen) error {
	a, err := offline(s, c.A)
	if err != nil {
		return err
	}
	b, err := offline(s, c.B)
	if err != nil {
		return err
	}
	found, err := machine.Compare(a, b)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"a": a.Ref(), "b": b.Ref(), "same": len(found.Changes) == 0, "changes": found.Changes, "obstacles": found.Obstacles}, func() { s.compared(found) })
	if c.ExitCode && len(found.Changes) > 0 {
		return problem.New(problem.Unprocessable, "workflows-differ", "%s and %s differ: %s", c.A, c.B, counted(len(found.Changes), "change"))
	}
	return nil
}

// offline loads a definition as the language asks: whatever its Tasks run.
func offline(s *screen, file string) (*machine.Definition, error) {
	source, err := readInput(file, s.in)
	if err != nil {
		return nil, err
	}
	anything := func(string) (effect, known bool) { return false, true }
	d, err := machine.Load(workflowName(file), source, anything)
	if err != nil {
		return nil, inFile(file, err)
	}
	return d, nil
}

func (s *screen) compared(found machine.Comparison) {
	if len(found.Changes) == 0 {
		s.say("Messages would notice no difference.")
		return
	}
	state := "" // whose changes are being told
	for _, change := range found.Changes {
		switch {
		case change.Kind == machine.Added:
			s.say("%s", s.paint(green, fmt.Sprintf("+ %s (%s)", change.State, change.To)))
		case change.Kind == machine.Removed:
			s.say("%s", s.paint(red, fmt.Sprintf("- %s (%s)", change.State, change.From)))
		case change.State == "":
			s.say("%s", s.paint(yellow, "~ the workflow"))
			s.say("    %s: %s", change.Field, became(change))
		default:
			if change.State != state {
				s.say("%s", s.paint(yellow, "~ "+change.State))
			}
			s.say("    %s: %s", change.Field, became(change))
		}
		state = change.State
	}
	if len(found.Obstacles) == 0 {
		s.say("\nMessages could be moved from every state.")
		return
	}
	s.say("\nMessages could be moved, but not from these states:")
	for _, o := range found.Obstacles {
		s.say("    %s: %s", o.State, o.Why)
	}
}

// became is a change of a field in one line.
func became(change machine.Change) string {
	switch {
	case change.From == "":
		return "now " + change.To
	case change.To == "":
		return "no longer " + change.From
	}
	return change.From + " → " + change.To
}

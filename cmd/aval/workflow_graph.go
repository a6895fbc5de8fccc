package main

import (
	"context"
	"errors"
	"strings"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/machine/diagram"
)

type workflowGraph struct {
	File    string `arg:"" help:"The definition, in YAML or JSON."`
	Format  string `enum:"mermaid,svg,dot" default:"mermaid" help:"mermaid, which wikis and code hosts draw; svg, a picture; dot, for Graphviz." placeholder:"mermaid|svg|dot"`
	Message string `help:"Show how far this message of a running Aval has come." placeholder:"MSG_ID"`
}

// Help is shown by aval workflow graph --help.
func (workflowGraph) Help() string {
	return `The states of a Parallel's branches and of a Map stand in a box of their own; where an error leads is dashed. With --message the states are coloured: done, is here, failed, not reached; also within branches.

    aval workflow graph transfer.v1.yaml --format svg > transfer.svg
    aval workflow graph transfer.v1.yaml --format svg --message msg_… > where.svg`
}

// Run is the command.
func (c *workflowGraph) Run(ctx context.Context, s *screen, a *access) error {
	d, err := offline(s, c.File)
	if err != nil {
		return err
	}
	var marks map[string]diagram.Mark
	if c.Message != "" {
		if marks, err = c.marks(ctx, s, a, d); err != nil {
			return err
		}
	}
	g := diagram.Of(d, marks)
	picture := map[string]func() string{"mermaid": g.Mermaid, "svg": g.SVG, "dot": g.DOT}[c.Format]()
	s.answer(map[string]any{"workflow": d.Ref(), "format": c.Format, "graph": picture, "marks": marks}, func() { s.say("%s", strings.TrimSpace(picture)) })
	return nil
}

// marks asks a running Aval how far the message has come.
func (c *workflowGraph) marks(ctx context.Context, s *screen, a *access, d *machine.Definition) (map[string]diagram.Mark, error) {
	api, err := a.asClient()
	if err != nil {
		return nil, err
	}
	rec, err := api.Get(ctx, c.Message)
	var refusal *client.Problem
	if errors.As(err, &refusal) && refusal.Status == 404 { // another client's; an operator may look at all
		if operator, failed := a.asOperator(); failed == nil {
			api = operator
			rec, err = api.Get(ctx, c.Message)
		}
	}
	if err != nil {
		return nil, err
	}
	if name, hash, _ := strings.Cut(rec.Workflow, "@"); hash != d.Hash {
		s.note("The message is pinned to %s, and %s is %s: states that differ are not coloured.", name+"@"+hash, c.File, d.Ref())
	}
	entries, err := api.History(ctx, c.Message)
	if err != nil {
		return nil, err
	}
	var steps []diagram.Step
	for _, e := range entries {
		steps = append(steps, diagram.Step{State: e.State, Event: e.Event, Note: e.Note})
	}
	return diagram.Marks(d, steps, rec.State, rec.Status == client.Parked, rec.Status.Final()), nil
}

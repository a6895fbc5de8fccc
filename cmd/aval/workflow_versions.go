package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/avalhq/aval/client"
)

type workflowVersions struct{}

// Help is shown by aval workflow versions --help.
func (workflowVersions) Help() string {
	return `A message stays with the definition that it began with. New ones begin with the newest, which is what Aval was started with, or as the alias of their type says.`
}

// Run is the command.
func (workflowVersions) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	all, err := api.Workflows(ctx)
	if err == nil {
		s.versions(all)
	}
	return err
}

// versions shows definitions with the part of the new messages that each gets.
func (s *screen) versions(all []client.Workflow) {
	s.answer(map[string]any{"workflows": append([]client.Workflow{}, all...)}, func() {
		sum := map[string]int{}
		for _, w := range all {
			sum[w.Name] += w.Weight
		}
		var rows [][]string
		for _, w := range all {
			rows = append(rows, []string{w.Name, w.Hash, fmt.Sprint(w.States), part(w, sum[w.Name]), w.Comment})
		}
		s.table([]string{"WORKFLOW", "HASH", "STATES", "NEW MESSAGES", "WHAT IT DOES"}, rows, "There is none.")
	})
}

// part tells which part of the new messages begins with a definition.
func part(w client.Workflow, sum int) string {
	switch {
	case sum > 0 && w.Weight > 0:
		return fmt.Sprintf("%.4g%% (alias)", 100*float64(w.Weight)/float64(sum))
	case sum == 0 && w.Newest:
		return "all (newest)"
	}
	return "none"
}

type workflowInstall struct {
	File string `arg:"" help:"The definition, in YAML or JSON; its name without the ending is the message type."`
}

// Help is shown by aval workflow install --help.
func (workflowInstall) Help() string {
	return `The definition is checked as aval workflow lint does, and kept. Messages begin with it once an alias directs them to it.

    aval workflow install transfer.v1.yaml
    aval workflow alias transfer.v1 76cdabcae111c5bf=95 5d0c9ef0a2b7c1d4=5`
}

// Run is the command.
func (c *workflowInstall) Run(ctx context.Context, s *screen, a *access) error {
	source, err := readInput(c.File, s.in)
	if err != nil {
		return err
	}
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	w, err := api.InstallWorkflow(ctx, strings.TrimSuffix(filepath.Base(c.File), filepath.Ext(c.File)), source)
	if err != nil {
		return err
	}
	s.answer(w, func() { s.say("%s is kept as %s@%s: %d states.", c.File, w.Name, w.Hash, w.States) })
	return nil
}

type workflowAlias struct {
	Name   string   `arg:"" help:"The message type."`
	Routes []string `arg:"" optional:"" name:"hash=weight" help:"A definition and its share of the new messages. A hash alone has the weight 1."`
	Newest bool     `help:"Lift the alias: new messages begin with the newest definition again."`
}

// Help is shown by aval workflow alias --help.
func (workflowAlias) Help() string {
	return `Weights are shares of their sum. Which definition a message gets follows from its id, so that a submission that is repeated gets the same. Messages that have begun stay with theirs.

    aval workflow versions
    aval workflow alias transfer.v1 76cdabcae111c5bf=95 5d0c9ef0a2b7c1d4=5
    aval workflow alias transfer.v1 5d0c9ef0a2b7c1d4
    aval workflow alias transfer.v1 --newest`
}

// Run is the command.
func (c *workflowAlias) Run(ctx context.Context, s *screen, a *access) error {
	if c.Newest == (len(c.Routes) > 0) {
		return misused("alias-invalid", "say either which definitions new messages begin with, as HASH=WEIGHT, or --newest; aval workflow versions shows the hashes")
	}
	var routes []client.Route
	for _, text := range c.Routes {
		hash, weight, given := strings.Cut(text, "=")
		r := client.Route{Hash: hash, Weight: 1}
		if given {
			var err error
			if r.Weight, err = strconv.Atoi(weight); err != nil || r.Weight < 1 {
				return misused("alias-invalid", "%q is no hash with a weight; write HASH=WEIGHT with a whole number of 1 or more", text)
			}
		}
		routes = append(routes, r)
	}
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	all, err := api.DirectWorkflow(ctx, c.Name, routes...)
	if err == nil {
		s.versions(all)
	}
	return err
}

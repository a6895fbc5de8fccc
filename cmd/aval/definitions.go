package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/workflows"
)

type workflowCommands struct {
	List workflowList `cmd:"" help:"List the workflows that ship with this program."`
	Lint workflowLint `cmd:"" help:"Check a workflow definition."`
	Run  workflowRun  `cmd:"" help:"Run a workflow offline: nothing is done, and waiting takes no time."`
	Test workflowTest `cmd:"" help:"Run a file of cases offline."`

	Versions workflowVersions `cmd:"" help:"List the definitions that a running Aval keeps (operator)."`
	Install  workflowInstall  `cmd:"" help:"Give a running Aval a definition; nothing begins with it yet (operator)."`
	Alias    workflowAlias    `cmd:"" help:"Say which definitions new messages begin with, and in which proportion (operator)."`
}

// knownActions tells of the actions that a definition may name. They are asked for their names alone and never run.
func knownActions() (machine.Actions, error) {
	registry, err := step.NewRegistry(shippedActions(nil, nil, nil, nil, nil, 0)...)
	if err != nil {
		return nil, err
	}
	return registry.Effect, nil
}

type workflowList struct{}

// listed is a workflow as it is shown.
type listed struct {
	Name    string `json:"name"`
	Hash    string `json:"hash"`
	States  int    `json:"states"`
	Comment string `json:"comment"`
}

// Run is the command.
func (workflowList) Run(s *screen) error {
	actions, err := knownActions()
	if err != nil {
		return err
	}
	var all []listed
	err = fs.WalkDir(workflows.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		source, err := fs.ReadFile(workflows.FS(), path)
		if err != nil {
			return err
		}
		d, err := machine.Load(strings.TrimSuffix(path, filepath.Ext(path)), source, actions)
		if err == nil {
			all = append(all, listed{d.Name, d.Hash, len(d.States), d.Comment})
		}
		return err
	})
	s.answer(map[string]any{"workflows": all}, func() {
		var rows [][]string
		for _, w := range all {
			rows = append(rows, []string{w.Name, w.Hash, fmt.Sprint(w.States), w.Comment})
		}
		s.table([]string{"WORKFLOW", "HASH", "STATES", "WHAT IT DOES"}, rows, "There is none.")
	})
	return err
}

type workflowLint struct {
	File string `arg:"" help:"The definition, in YAML or JSON; its name without the ending is the workflow's."`
}

// Help is shown by aval workflow lint --help.
func (workflowLint) Help() string {
	return `It reads the definition as Aval does at its start: the form, the expressions, that every state can be reached and ended, that the actions exist, and that those with an outside effect catch every error. Each mistake is told with its line.

    aval workflow lint workflows/transfer.v1.yaml`
}

// Run is the command.
func (c *workflowLint) Run(s *screen) error {
	actions, err := knownActions()
	if err != nil {
		return err
	}
	source, err := readInput(c.File, s.in)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(c.File), filepath.Ext(c.File))
	d, err := machine.Load(name, source, actions)
	var typed *problem.Error
	switch {
	case errors.As(err, &typed):
		return err
	case err != nil:
		return misused("workflow-invalid", "%s: %w", c.File, err)
	}
	s.answer(listed{d.Name, d.Hash, len(d.States), d.Comment}, func() { s.say("%s is good: %d states, version %s.", c.File, len(d.States), d.Hash) })
	return nil
}

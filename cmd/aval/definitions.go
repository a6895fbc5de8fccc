package main

import (
	"fmt"
	"io/fs"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/expr"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
	"github.com/avalhq/aval/workflows"
)

type workflowCommands struct {
	List workflowList `cmd:"" help:"List the workflows that ship with this program."`
	Lint workflowLint `cmd:"" help:"Check workflow definitions."`
	Run  workflowRun  `cmd:"" help:"Run a workflow offline: nothing is done, and waiting takes no time."`
	Test workflowTest `cmd:"" help:"Run a file of cases offline."`

	Graph workflowGraph `cmd:"" help:"Draw a workflow, and where a message stands in it."`
	Diff  workflowDiff  `cmd:"" help:"Tell how two definitions differ, and whether messages could be moved."`

	Versions workflowVersions `cmd:"" help:"List the definitions that a running Aval keeps (operator)."`
	Install  workflowInstall  `cmd:"" help:"Give a running Aval a definition; nothing begins with it yet (operator)."`
	Alias    workflowAlias    `cmd:"" help:"Say which definitions new messages begin with, and in which proportion (operator)."`
	Migrate  workflowMigrate  `cmd:"" help:"Move waiting messages from one definition to another (operator)."`
}

// shippedRules are what definitions are held to here, control points beside the actions that ship. The actions are asked for
// their names alone and never run.
func shippedRules(points ...*controlpoint.Point) (machine.Rules, error) {
	registry, err := step.NewRegistry(append(shippedActions(nil, nil, nil, nil), pointActions(points)...)...)
	if err != nil {
		return machine.Rules{}, err
	}
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		return machine.Rules{}, err
	}
	return workflowRules(registry, catalog), nil
}

// workflowRules are what the definitions of an installation are held to.
func workflowRules(registry *step.Registry, catalog *message.Catalog) machine.Rules {
	return machine.Rules{Actions: registry.Effect, Names: registry.Names(), Parks: registry.Parks, Undo: registry.Undo, Message: func(name string) *expr.Type {
		schema, err := catalog.Schema(name)
		if err != nil {
			return nil
		}
		body, err := expr.Schema("message.body", schema)
		if err != nil {
			return nil // the catalog took it as a schema, so that cannot be
		}
		return controller.MessageType(body)
	}}
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
	rules, err := shippedRules()
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
		d, err := machine.Load(workflowName(path), source, rules.Actions)
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

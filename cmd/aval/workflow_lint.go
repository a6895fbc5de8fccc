package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/problem"
)

type workflowLint struct {
	Files  []string `arg:"" help:"The definitions, in YAML or JSON; a file's name without its ending is the workflow's. - reads the standard input."`
	For    string   `help:"The message type that the workflow is for, where its file is not named after it." placeholder:"TYPE"`
	Strict bool     `help:"Refuse what there are only warnings about, too."`

	ControlPoints string `help:"The folder of control points whose actions the definitions may name." placeholder:"DIR"`
}

// Help is shown by aval workflow lint --help.
func (workflowLint) Help() string {
	return `It reads definitions as Aval does at its start: the form, the names of states and actions, the expressions and whether they fit the message type's schema, that every state can be reached and led to an end, that what has an outside effect catches every error, and that no loop runs without a pause.

What is found is printed a line each, in the order of the files, as FILE:LINE:COLUMN: text, so that editors can go there; warnings say so. The exit code is 0 when all can be used, and 2 when one cannot. The platform starts with workflows that have warnings, and writes them to its log.

    aval workflow lint workflows/*.yaml
    aval workflow lint --strict --output json transfer.v1.yaml`
}

// linted is what was found in one file.
type linted struct {
	File     string           `json:"file"`
	Name     string           `json:"name"`
	Hash     string           `json:"hash,omitempty"`
	States   int              `json:"states,omitempty"`
	Findings machine.Findings `json:"findings"`
}

// Run is the command.
func (c *workflowLint) Run(s *screen) error {
	points, err := folderPoints(c.ControlPoints)
	if err != nil {
		return err
	}
	rules, err := shippedRules(points...)
	if err != nil {
		return err
	}
	var all []linted
	refused, errors, warnings := 0, 0, 0
	for _, file := range c.Files {
		source, err := readInput(file, s.in)
		if err != nil {
			return err
		}
		one := linted{File: file, Name: workflowName(file), Findings: machine.Findings{}}
		if c.For != "" {
			one.Name = c.For
		}
		d, found := machine.Review(one.Name, source, rules)
		if d != nil {
			one.Hash, one.States = d.Hash, len(d.States)
		}
		one.Findings = append(one.Findings, found...)
		all = append(all, one)
		faults := len(found.Errors())
		errors, warnings = errors+faults, warnings+len(found)-faults
		if faults > 0 || c.Strict && len(found) > 0 {
			refused++
		}
	}
	s.answer(map[string]any{"files": all, "errors": errors, "warnings": warnings}, func() { s.linted(all) })
	if refused > 0 {
		return problem.New(problem.Invalid, "workflow-invalid", "%s cannot be used: %s, %s", counted(refused, "workflow"), counted(errors, "error"), counted(warnings, "warning"))
	}
	return nil
}

func (s *screen) linted(all []linted) {
	for _, one := range all {
		for i, line := range one.Findings.In(one.File) {
			if one.Findings[i].Warning {
				line = s.paint(yellow, line)
			}
			s.say("%s", line)
		}
		if one.Hash != "" {
			s.say("%s is good: %s, version %s.", one.File, counted(one.States, "state"), one.Hash)
		}
	}
}

// workflowName is the name of the workflow that a file holds.
func workflowName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

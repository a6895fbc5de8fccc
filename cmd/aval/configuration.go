package main

import (
	"context"
	"fmt"
	"os"

	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/guarantee"
)

type configCommands struct {
	Example configExample `cmd:"" default:"1" help:"Print the configuration with its defaults, each field under its explanation."`
	Check   configCheck   `cmd:"" help:"Check a configuration file."`
	Policy  configPolicy  `cmd:"" help:"Print the policy that ships with Aval, to copy and change for the field policy."`
}

type configExample struct{}

// Run is the command.
func (configExample) Run(s *screen) error {
	_, err := fmt.Fprint(s.out, config.Example())
	return err
}

type configCheck struct {
	Role []string `help:"What the process is to do, as aval serve --role has it." default:"all" placeholder:"ROLE"`
	File string   `arg:"" help:"The file."`
}

// Help is shown by aval config check --help.
func (configCheck) Help() string {
	return `Refuses what aval serve would refuse of the file for a process with these roles, and reads the control points and workflows that it names. It starts nothing, and asks no server, no node and for no passphrase.

    aval config check aval.yaml
    aval config check --role controller,watcher aval.yaml`
}

// Run is the command.
func (c *configCheck) Run(s *screen) error {
	cfg, _, err := settings{}.forRoles(c.File, c.Role)
	if err != nil {
		return err
	}
	if err := checkRules(cfg); err != nil {
		return err
	}
	s.answer(cfg, func() { s.say("%s is good.", c.File) })
	return nil
}

// checkRules reads the control points and workflows that a configuration names, as Aval does at its start.
func checkRules(cfg config.Config) error {
	points, err := controlPoints(cfg.ControlPoints, controlpoint.Options{})
	if err != nil || cfg.Workflows == "" {
		return err
	}
	rules, err := shippedRules(points...)
	if err != nil {
		return err
	}
	_, err = workflow.New(nowhere{}, rules).LoadAll(context.Background(), os.DirFS(cfg.Workflows))
	return err
}

// nowhere keeps no definitions.
type nowhere struct{ guarantee.Definitions }

// Put keeps nothing.
func (nowhere) Put(context.Context, string, []byte) error { return nil }

type configPolicy struct{}

// Run is the command.
func (configPolicy) Run(s *screen) error {
	_, err := s.out.Write(policy.Source())
	return err
}

package main

import (
	"fmt"

	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/policy"
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
	File string `arg:"" help:"The file."`
}

// Run is the command.
func (c *configCheck) Run(s *screen) error {
	cfg, err := config.Load(c.File)
	if err != nil {
		return err
	}
	s.answer(cfg, func() { s.say("%s is good.", c.File) })
	return nil
}

type configPolicy struct{}

// Run is the command.
func (configPolicy) Run(s *screen) error {
	_, err := s.out.Write(policy.Source())
	return err
}

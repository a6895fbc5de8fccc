package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

type controlPointCommands struct {
	List  pointList  `cmd:"" help:"List the control points of a folder and whom they ask."`
	Check pointCheck `cmd:"" help:"Check control points."`
	Try   pointTry   `cmd:"" help:"Show the request that a control point would make; with --send, make it."`
}

type pointList struct {
	Folder string `arg:"" help:"The folder: control_points.folder of the configuration."`
}

// listedPoint is a control point as it is shown.
type listedPoint struct {
	Name    string            `json:"name"`
	Actions []string          `json:"actions"`
	Effect  bool              `json:"effect"`
	Targets map[string]string `json:"targets"`
	Comment string            `json:"comment"`
}

// Run is the command.
func (c pointList) Run(s *screen) error {
	points, err := folderPoints(c.Folder)
	if err != nil {
		return err
	}
	all := []listedPoint{}
	var rows [][]string
	for _, p := range points {
		one := listedPoint{Name: p.Name, Effect: p.Effect, Targets: p.Targets(), Comment: p.Comment}
		for _, a := range p.Actions() {
			one.Actions = append(one.Actions, a.Name)
		}
		all = append(all, one)
		kind := "asks"
		if p.Effect {
			kind = "effect"
		}
		rows = append(rows, []string{strings.Join(one.Actions, " "), kind, strings.Join(slices.Sorted(maps.Keys(one.Targets)), " "), p.Comment})
	}
	s.answer(map[string]any{"control_points": all}, func() {
		s.table([]string{"ACTIONS", "KIND", "TARGETS", "WHAT IT DOES"}, rows, "There is none.")
	})
	return nil
}

type pointCheck struct {
	Files []string `arg:"" help:"Control points, or folders of them."`
}

// Help is shown by aval control-point check --help.
func (pointCheck) Help() string {
	return `It reads control points as Aval does at its start: every field, schema and expression; each mistake is told with its line and column. Whether the configuration allows a host and whether a secret is there is for aval config check.

    aval control-point check control-points/screening.yaml`
}

// Run is the command.
func (c pointCheck) Run(s *screen) error {
	var names []string
	for _, path := range c.Files {
		points, err := pathPoints(path)
		if err != nil {
			return err
		}
		for _, p := range points {
			names = append(names, p.Name)
		}
	}
	s.answer(map[string]any{"good": names}, func() { s.say("Good: %s.", strings.Join(names, ", ")) })
	return nil
}

type pointTry struct {
	File       string `arg:"" help:"The control point."`
	Input      string `required:"" help:"A file with the arguments, in YAML or JSON." placeholder:"FILE"`
	Message    string `help:"A file with the message that it is for: id, type, client, chain and body, in YAML or JSON." placeholder:"FILE"`
	Compensate bool   `help:"Try the compensation instead."`
	Send       bool   `help:"Make the request. What it changes at the other system stays."`
	Allow      string `help:"What --send may reach beside public addresses, as in control_points.allow." placeholder:"HOSTS"`
}

// Help is shown by aval control-point try --help.
func (pointTry) Help() string {
	return `Without --send nothing leaves this machine and no secret is read: it shows which targets would be asked and the translated requests. With --send the request is made, once, outside of any message's life: nothing is noted, and an effect is not looked up when its answer is lost.

    aval control-point try control-points/screening.yaml --input arguments.yaml`
}

// Run is the command.
func (c *pointTry) Run(ctx context.Context, s *screen) error {
	p, action, err := c.load(s)
	if err != nil {
		return err
	}
	task, err := c.task(s)
	if err != nil {
		return err
	}
	planned, err := p.Plan(ctx, action.Name, task)
	if err != nil {
		return err
	}
	if !c.Send {
		s.answer(map[string]any{"requests": planned}, func() { s.planned(planned) })
		return nil
	}
	out := action.Run(ctx, []step.Task{task})[0]
	if out.Err != nil {
		return out.Err
	}
	s.answer(map[string]any{"requests": planned, "result": out.Output, "later": out.Later.String()}, func() {
		s.planned(planned)
		if out.Later > 0 {
			s.say("Not finished; it would be asked again in %s.", out.Later)
			return
		}
		s.say("%s", out.Output)
	})
	return nil
}

func (s *screen) planned(all []controlpoint.Planned) {
	for _, one := range all {
		s.say("%s  %s %s", s.paint(grey, one.Target), one.Request.Method, one.Request.URL)
		for _, name := range slices.Sorted(maps.Keys(one.Request.Headers)) {
			s.say("    %s: %s", name, one.Request.Headers[name])
		}
		if one.Request.Body != nil {
			s.say("    %s", one.Request.Body)
		}
	}
}

// load reads the control point; where it may lead matters only when something is sent.
func (c *pointTry) load(s *screen) (*controlpoint.Point, step.Action, error) {
	source, err := readInput(c.File, s.in)
	if err != nil {
		return nil, step.Action{}, err
	}
	allowed, err := controlpoint.ParseAllowed(c.Allow)
	if err != nil {
		return nil, step.Action{}, err
	}
	p, err := controlpoint.Load(c.File, source, controlpoint.Options{Allowed: allowed, Secret: readSecret, Verify: c.Send, Look: !c.Send})
	if err != nil {
		return nil, step.Action{}, err
	}
	actions := p.Actions()
	if c.Compensate && len(actions) < 2 {
		return nil, step.Action{}, misused("flag-invalid", "%s has no compensation to try", c.File)
	}
	if c.Compensate {
		return p, actions[1], nil
	}
	return p, actions[0], nil
}

// task makes the task that is tried.
func (c *pointTry) task(s *screen) (task step.Task, err error) {
	rec := guarantee.Record{}
	rec.ID, rec.Type, rec.Client, rec.Body = message.NewID(), "try.v1", "cli_try", []byte("{}")
	task = step.Task{Record: &rec, State: "Try", Attempt: 1}
	if task.Arguments, err = readJSON(c.Input, s); err != nil || c.Message == "" {
		return task, err
	}
	raw, err := readJSON(c.Message, s)
	if err != nil {
		return task, err
	}
	var given struct {
		ID                  message.ID
		Type, Client, Chain string
		Body                json.RawMessage
	}
	if err := json.Unmarshal(raw, &given); err != nil {
		return task, misused("input-invalid", "%s is not a message: %w", c.Message, err)
	}
	rec.Type, rec.Client, rec.Chain, rec.Body = given.Type, given.Client, given.Chain, given.Body
	if given.ID != "" {
		rec.ID = given.ID
	}
	return task, nil
}

func readJSON(path string, s *screen) (json.RawMessage, error) {
	raw, err := readInput(path, s.in)
	if err != nil {
		return nil, err
	}
	if raw, err = machine.JSON(raw); err != nil {
		return nil, misused("input-invalid", "%s: %w", path, err)
	}
	return raw, nil
}

// folderPoints loads control points to look at; none where no folder is named.
func folderPoints(folder string) ([]*controlpoint.Point, error) {
	if folder == "" {
		return nil, nil
	}
	return controlpoint.LoadAll(os.DirFS(folder), controlpoint.Options{Look: true}, shippedNames()...)
}

// pathPoints loads a folder, or one file.
func pathPoints(path string) ([]*controlpoint.Point, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return folderPoints(path)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, misused("file-unreadable", "%w; give the path of a file or folder that is there", err)
	}
	p, err := controlpoint.Load(filepath.Base(path), source, controlpoint.Options{Look: true})
	return []*controlpoint.Point{p}, err
}

// shippedNames are the names of actions that control points cannot have.
func shippedNames() (names []string) {
	for _, a := range shippedActions(nil, nil, nil, nil) {
		names = append(names, a.Name)
	}
	return names
}

// controlPoints loads those that the configuration names; none when it names no folder.
func controlPoints(c config.ControlPoints, o controlpoint.Options) (points []*controlpoint.Point, err error) {
	if o.Allowed, err = controlpoint.ParseAllowed(c.Allow); err != nil || c.Folder == "" {
		return nil, err
	}
	o.Secret, o.Verify = readSecret, true
	return controlpoint.LoadAll(os.DirFS(c.Folder), o, shippedNames()...)
}

// readSecret reads "file:PATH", its first line, and "env:NAME". What it says when it cannot holds no secret.
func readSecret(ref string) (string, error) {
	kind, where, _ := strings.Cut(ref, ":")
	var secret string
	switch kind {
	case "file":
		raw, err := os.ReadFile(where)
		if err != nil {
			return "", err
		}
		line, _, _ := bytes.Cut(raw, []byte("\n"))
		secret = string(bytes.TrimSuffix(line, []byte("\r")))
	case "env":
		secret = os.Getenv(where)
	}
	if secret == "" {
		return "", fmt.Errorf("there is nothing in %s", ref)
	}
	return secret, nil
}

// pointActions are the actions of control points.
func pointActions(points []*controlpoint.Point) (all []step.Action) {
	for _, p := range points {
		all = append(all, p.Actions()...)
	}
	return all
}

// pointOptions are what the platform's control points are given.
func (p *platform) pointOptions() controlpoint.Options {
	return controlpoint.Options{Journal: p.storage.calls, Log: p.log, Observe: controlpoint.Observer{Call: p.metrics.Point, Breaker: p.metrics.Breaker}}
}

// breakerNote says which targets of control points are left alone for now.
func (p *platform) breakerNote() string {
	var open []string
	for _, point := range p.points {
		for target, state := range point.Breakers() {
			if state != "closed" {
				open = append(open, fmt.Sprintf("%s of %s (%s)", target, point.Name, state))
			}
		}
	}
	if len(open) == 0 {
		return ""
	}
	slices.Sort(open)
	return "left alone, as they failed too often: " + strings.Join(open, ", ")
}

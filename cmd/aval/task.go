package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/avalhq/aval/client"
)

type taskCommands struct {
	Succeed   taskSucceed   `cmd:"" help:"Answer that a task went well."`
	Fail      taskFail      `cmd:"" help:"Answer that a task failed."`
	Heartbeat taskHeartbeat `cmd:"" help:"Say that a task is still being worked on."`
}

// Help is shown by aval task --help.
func (taskCommands) Help() string {
	return `A workflow that waits for an answer has handed a task token out. Who has it can answer, once; so it is read from a file or from standard input, never from the command line, which every process on the machine can read.

    aval task heartbeat token.txt
    aval task succeed token.txt --result '{"paid": true}'
    echo "$TOKEN" | aval task fail - --error declined --cause "no money"`
}

// tasked names the task.
type tasked struct {
	Token string `arg:"" name:"token-file" help:"A file that holds the task token, or - for standard input."`
}

func (t tasked) open(s *screen, a *access) (api *client.Client, token string, err error) {
	raw, err := readInput(t.Token, s.in)
	if err != nil {
		return nil, "", err
	}
	if token = strings.TrimSpace(string(raw)); token == "" {
		return nil, "", misused("task-token-missing", "there is no task token in %s", t.Token)
	}
	api, err = a.asClient()
	return api, token, err
}

type taskSucceed struct {
	tasked
	Result string `default:"null" help:"The task's result, any JSON." placeholder:"JSON"`
}

// Run is the command.
func (c *taskSucceed) Run(ctx context.Context, s *screen, a *access) error {
	api, token, err := c.open(s, a)
	if err != nil {
		return err
	}
	if !json.Valid([]byte(c.Result)) {
		return misused("task-output-invalid", "--result is not JSON; text needs quotes of its own: --result '\"done\"'")
	}
	if err := api.SucceedTask(ctx, token, json.RawMessage(c.Result)); err != nil {
		return err
	}
	s.done("answered", "The task goes on with this result.")
	return nil
}

type taskFail struct {
	tasked
	Error string `help:"The error name that the workflow's Retry and Catch compare." placeholder:"NAME"`
	Cause string `help:"What happened, for people." placeholder:"TEXT"`
}

// Run is the command.
func (c *taskFail) Run(ctx context.Context, s *screen, a *access) error {
	api, token, err := c.open(s, a)
	if err != nil {
		return err
	}
	if err := api.FailTask(ctx, token, c.Error, c.Cause); err != nil {
		return err
	}
	s.done("answered", "The task has failed with this error.")
	return nil
}

type taskHeartbeat struct{ tasked }

// Run is the command.
func (c *taskHeartbeat) Run(ctx context.Context, s *screen, a *access) error {
	api, token, err := c.open(s, a)
	if err != nil {
		return err
	}
	if err := api.HeartbeatTask(ctx, token); err != nil {
		return err
	}
	s.done("heard", "The task waits on.")
	return nil
}

// done tells that something was done of which there is nothing to show.
func (s *screen) done(what, sentence string) {
	s.answer(map[string]bool{what: true}, func() { s.say("%s", sentence) })
}

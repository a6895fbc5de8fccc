package main

import (
	"context"
	"errors"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

type messageWatch struct {
	ID    string `arg:"" optional:"" name:"message" help:"The message's id; without it all messages are followed, from now on."`
	After int64  `help:"Without an id: begin after this number of an event that was seen before." placeholder:"N"`
}

// Help is shown by aval message watch --help.
func (messageWatch) Help() string {
	return `With an id it ends when the message is final, or parked and so waits for a person; it exits with 0 only when the end is a good one. Without an id it goes on until Ctrl-C. With --output json each step or event is one line.

    aval message watch msg_…
    aval message watch --operator`
}

// Run is the command.
func (c *messageWatch) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	if c.ID != "" {
		return s.watch(ctx, api, c.ID)
	}
	if !s.json {
		s.say("%s", s.paint(grey, aligned([]string{"AT", "MESSAGE", "TYPE", "STATE", "STATUS", "REASON"}, eventWidths)))
	}
	for event, err := range api.Events(ctx, c.After) {
		if ctx.Err() != nil {
			return nil // it was asked to end, and that is how it ends
		}
		if err != nil {
			return err
		}
		s.event(event)
	}
	return nil
}

var eventWidths = []int{24, 30, 12, 10, 10, 0}

func (s *screen) event(e client.Event) {
	switch {
	case s.json:
		s.encode(s.out, map[string]any{"seq": e.Seq, "gap": e.Gap, "message": e.Record})
	case e.Gap:
		s.note("Some events are no longer held; aval message list shows what there is.")
	default:
		m := e.Record
		row := []string{moment(m.Updated), m.ID, m.Type, m.State, string(m.Status), m.Reason}
		s.say("%s", s.tinted(aligned(row, eventWidths), row))
	}
}

// watch prints the steps of a message as they happen, and says at the end how it stands.
func (s *screen) watch(ctx context.Context, api *client.Client, id string) error {
	rec, err := s.steps(ctx, api, id, func(step client.Step, first client.Entry) {
		switch {
		case s.json:
			s.encode(s.out, step)
		case step.Entry.Version == first.Version:
			s.say("%s", s.paint(grey, timelineHeader()))
			fallthrough
		default:
			s.say("%s", timelineOf(step.Entry, first.At))
		}
	})
	if err != nil {
		return err
	}
	if !s.json {
		s.say("\nThe message %s is %s: %s.", rec.ID, rec.State, s.status(rec.Status))
	}
	return outcome(rec)
}

// follow waits for the end with the steps in sight, and prints the message.
func (s *screen) follow(ctx context.Context, api *client.Client, id string, quiet bool) error {
	if !s.json && !quiet {
		return s.watch(ctx, api, id)
	}
	rec, err := api.Wait(ctx, id)
	if err != nil {
		return err
	}
	if quiet {
		s.say("%s", rec.ID)
	} else {
		s.record(rec)
	}
	return outcome(rec)
}

// steps hands each step to show, until the message is final or parked, and gives the message as it is then.
func (s *screen) steps(ctx context.Context, api *client.Client, id string, show func(step client.Step, first client.Entry)) (client.Record, error) {
	var first *client.Entry
	for step, err := range api.Watch(ctx, id) {
		if err != nil {
			return client.Record{}, err
		}
		if first == nil {
			first = &step.Entry
		}
		show(step, *first)
		if step.Status != client.Parked {
			continue
		}
		if rec, err := api.Get(ctx, id); err != nil || rec.Status == client.Parked && rec.Version == step.Entry.Version {
			return rec, err
		}
	}
	if ctx.Err() != nil {
		return client.Record{}, errors.Join(errInterrupted, ctx.Err())
	}
	return api.Get(ctx, id)
}

// outcome is an error unless the message ended well.
func outcome(rec client.Record) error {
	switch rec.Status {
	case client.Succeeded:
		return nil
	case client.Parked:
		return problem.New(problem.Unprocessable, "message-parked", "the message is parked: %s; aval message why %s says what to do", rec.Reason, rec.ID)
	default:
		return problem.New(problem.Unprocessable, "message-failed", "the message was refused: %s", rec.Reason)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
)

type referenceCommands struct {
	Verify  referenceVerify  `cmd:"" help:"Compare the read model with the system of record (operator)."`
	Rebuild referenceRebuild `cmd:"" help:"Compare, and mend the read model where it differs (operator)."`
	Counts  referenceCounts  `cmd:"" help:"Count messages by type and state."`
}

// Help is shown by aval reference --help.
func (referenceCommands) Help() string {
	return `Lists and counts come from Reference, which follows Guarantee, the system of record. Both commands run while the system does; where the two differ, Guarantee wins.

    aval reference verify
    aval reference rebuild
    aval reference counts --operator`
}

type referenceVerify struct{}

// Run is the command.
func (referenceVerify) Run(ctx context.Context, s *screen, a *access) error {
	report, err := s.compare(a, "comparing all messages", func(api *client.Client) (json.RawMessage, error) { return api.VerifyReference(ctx) })
	if err == nil && !report.Clean() {
		err = problem.New(problem.Unprocessable, "reference-differs", "the read model differs from the system of record; aval reference rebuild mends it")
	}
	return err
}

type referenceRebuild struct{}

// Run is the command.
func (referenceRebuild) Run(ctx context.Context, s *screen, a *access) error {
	_, err := s.compare(a, "comparing and mending all messages", func(api *client.Client) (json.RawMessage, error) { return api.RebuildReference(ctx) })
	return err
}

// compare runs one of the two and prints its report.
func (s *screen) compare(a *access, what string, run func(*client.Client) (json.RawMessage, error)) (reference.Report, error) {
	var report reference.Report
	api, err := a.asOperator()
	if err != nil {
		return report, err
	}
	done := s.progress(what)
	raw, err := run(api)
	done()
	if err != nil {
		return report, err
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return report, fmt.Errorf("the answer is not what this version of aval knows: %w", err)
	}
	s.answer(raw, func() {
		verdict := "the same"
		switch {
		case report.Repaired:
			verdict = "mended"
		case !report.Clean():
			verdict = "different"
		}
		s.facts([2]string{"messages", fmt.Sprint(report.Checked)}, [2]string{"verdict", verdict}, [2]string{"missing", number(report.Missing)},
			[2]string{"stale", number(report.Stale)}, [2]string{"extra", number(report.Extra)}, [2]string{"differing", number(report.Differing)},
			[2]string{"wrong counts", number(report.Counts)})
		for _, id := range report.Examples {
			s.say("  %s", id)
		}
	})
	return report, nil
}

// number is a count, or nothing for none.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

type referenceCounts struct{}

// Run is the command.
func (referenceCounts) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	counts, err := api.Counts(ctx)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"counts": append([]client.Count{}, counts...)}, func() {
		var rows [][]string
		for _, c := range counts {
			rows = append(rows, []string{c.Type, c.State, string(c.Status), fmt.Sprint(c.Number)})
		}
		s.table([]string{"TYPE", "STATE", "STATUS", "NUMBER"}, rows, "There are no messages yet.")
	})
	return nil
}

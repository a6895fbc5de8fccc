package main

import (
	"context"
	"fmt"

	"github.com/avalhq/aval/client"
)

type workflowMigrate struct {
	Name   string `arg:"" help:"The message type."`
	From   string `arg:"" help:"Hash of the definition that messages leave."`
	To     string `arg:"" help:"Hash of the one that they go on with."`
	DryRun bool   `help:"Move nothing; tell what would come of it."`
}

// Help is shown by aval workflow migrate --help.
func (workflowMigrate) Help() string {
	return `A message stays with the definition that it began with. This moves the live ones of a definition to another version of it, each in a commit that is in its history. A message moves when the states where it stands, and every effect that it has begun, are there in the new definition too, with the same type and action: nothing is done twice. The others stay and are listed with the reason.

    aval workflow versions
    aval workflow install transfer.v1.yaml
    aval workflow migrate transfer.v1 3a49909ece64e168 5d0c9ef0a2b7c1d4 --dry-run
    aval workflow migrate transfer.v1 3a49909ece64e168 5d0c9ef0a2b7c1d4`
}

// Run is the command.
func (c *workflowMigrate) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	done, err := api.MigrateWorkflow(ctx, c.Name, client.Migration{From: c.From, To: c.To, DryRun: c.DryRun})
	if err != nil {
		return err
	}
	s.answer(done, func() {
		verb := "moved"
		if done.DryRun {
			verb = "would move"
		}
		s.say("%d of %d messages %s from %s to %s.", done.Moved, done.Checked, verb, c.From, c.To)
		if len(done.Stayed) == 0 {
			return
		}
		var rows [][]string
		for _, m := range done.Stayed {
			rows = append(rows, []string{m.ID, m.State, m.Why})
		}
		s.table([]string{"STAYED", "STATE", "WHY"}, rows, "")
		if more := done.Checked - done.Moved - len(done.Stayed); more > 0 {
			s.say("%s", fmt.Sprintf("And %d more.", more))
		}
	})
	return nil
}

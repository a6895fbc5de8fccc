package main

import (
	"context"
	"errors"
)

// feederCommands mend the queue of what is due.
type feederCommands struct {
	Rebuild feederRebuild `cmd:"" help:"Hand out again all that is due and in nobody's hand."`
}

type feederRebuild struct {
	File string `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file, with database.url." placeholder:"FILE"`
}

// Help is shown by aval feeder rebuild --help.
func (feederRebuild) Help() string {
	return `What is due is in the database; on Kafka's topic are only ids. When records of that topic were lost, the relay notices within half a minute that nobody takes what they named, and publishes it again. This does the same at once, for all of it. It may be run at any time: an id that comes twice is taken once.

    aval feeder rebuild --config aval.yaml`
}

// Run is the command.
func (c *feederRebuild) Run(ctx context.Context, s *screen) (err error) {
	cfg, err := settings{}.read(c.File)
	if err != nil {
		return err
	}
	if cfg.Database.URL == "" {
		return misused("database-missing", "%s names no database, and one process on SQLite files hands out nothing; there is nothing to rebuild", c.File)
	}
	storage, err := openDatabase(ctx, cfg, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storage.close()) }()
	freed, err := storage.table.FreeAll(ctx)
	if err != nil {
		return err
	}
	s.answer(map[string]int64{"freed": freed}, func() { s.say("%d ids are handed out again.", freed) })
	return nil
}

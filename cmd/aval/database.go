package main

import (
	"context"
	"os"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/config"
)

// databaseCommands prepare a PostgreSQL database.
type databaseCommands struct {
	Init databaseInit `cmd:"" help:"Make the schema, the application's user and its rights, or bring them up to date."`
}

type databaseInit struct {
	Admin    string `env:"AVAL_DATABASE_ADMIN" help:"URL of an administrator, who will own the schema. Better in the environment than on the command line." placeholder:"URL"`
	User     string `default:"aval" help:"The application's user, whom database.url names: made when it is missing." placeholder:"NAME"`
	Password string `help:"Where that user's password comes from: file:PATH or env:NAME. Without it the user has to be there, and keeps its password." placeholder:"SOURCE"`
}

// Help is shown by aval database init --help.
func (databaseInit) Help() string {
	return `The database that the URL names is made when it is missing. The application runs as a user that can add to the record and read it, and can neither change nor delete originals, history, decisions and archive.

Run it once before the first start, and again with each new version of Aval before that version starts: it changes nothing that running programs of the version before rely on.

    export AVAL_DATABASE_ADMIN=postgres://postgres:…@db.example:5432/aval
    export AVAL_DATABASE_PASSWORD=…
    aval database init --user aval --password env:AVAL_DATABASE_PASSWORD
    aval serve --config aval.yaml       # with database.url: postgres://aval@db.example:5432/aval`
}

// Run is the command.
func (c *databaseInit) Run(ctx context.Context, s *screen) error {
	if c.Admin == "" {
		return misused("database-url-invalid", "there is no administrator's URL; set AVAL_DATABASE_ADMIN to postgres://user:password@host:port/name")
	}
	user := postgres.User{Name: c.User}
	if c.Password != "" {
		kind, where := config.Database{Password: c.Password}.Source()
		var err error
		if user.Password, err = readPassword(kind, where, "--password"); err != nil {
			return err
		}
	}
	level, err := postgres.Init(ctx, c.Admin, user)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"user": c.User, "level": level}, func() { s.say("The database is ready for the user %s, at level %d.", c.User, level) })
	return nil
}

// readPassword reads what a setting says where to find.
func readPassword(kind, where, setting string) (string, error) {
	switch kind {
	case "file":
		line, err := firstLine(where)
		if err != nil {
			return "", misused("password-missing", "cannot read the password: %w; check %s", err, setting)
		}
		return string(line), nil
	case "env":
		value, set := os.LookupEnv(where)
		if !set {
			return "", misused("password-missing", "the environment variable %s, from which %s takes the password, is not set", where, setting)
		}
		return value, nil
	}
	return "", misused("password-missing", "%s does not say where the password comes from: write file:PATH or env:NAME, never the password itself", setting)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/backup"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/problem"
)

type restoreCommand struct {
	saved
	Source   string `arg:"" name:"file" help:"The backup."`
	Check    bool   `help:"Read all of it and compare its checksums; change nothing."`
	Replace  bool   `help:"Restore though there is data already: a data folder's is moved aside, a database's is dropped."`
	Admin    string `env:"AVAL_DATABASE_ADMIN" help:"Into a database: URL of an administrator. Better in the environment than on the command line." placeholder:"URL"`
	User     string `default:"aval" help:"Into a database: the application's user, made when it is missing." placeholder:"NAME"`
	Password string `help:"Where that user's password comes from, when it is made or changed: file:PATH or env:NAME." placeholder:"SOURCE"`
}

// Help is shown by aval restore --help.
func (restoreCommand) Help() string {
	return `What was accepted and decided after the backup is forgotten, and may have been paid. Therefore every key is set aside until the chain has mined just what the backup knows of, every message that was on its way is parked, and nothing is signed before that. Stop all processes first; what to do then stands in docs/operations.md, and is told at the end.

    aval restore --config aval.yaml --check aval.backup
    aval restore --config aval.yaml aval.backup`
}

// Run is the command.
func (c *restoreCommand) Run(ctx context.Context, s *screen) error {
	cfg, keys, err := c.open(s)
	if err != nil {
		return err
	}
	about, parts, err := c.check(ctx, cfg, keys)
	if err != nil {
		return err
	}
	if c.Check {
		s.answer(map[string]any{"about": about, "parts": parts}, func() {
			s.say("The backup is whole: %d parts, the state of %s, %s, level %d, chain %d.", parts, moment(about.Made), about.Kind, about.Level, about.ChainID)
		})
		return nil
	}
	var left aside
	err = c.read(ctx, keys, func(r *backup.Reader) (err error) {
		if about.Kind == backup.SQLite {
			left, err = restoreFiles(ctx, cfg, r, c.Replace, s)
		} else {
			left, err = c.restoreDatabase(ctx, cfg, r, s)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.answer(map[string]any{"about": about, "keys": left.keys, "parked": left.parked}, func() { left.tell(s, about) })
	return nil
}

// read opens the file with the key-encryption key.
func (c *restoreCommand) read(ctx context.Context, keys sealed.Options, use func(*backup.Reader) error) error {
	from, err := os.Open(c.Source)
	if err != nil {
		return misused("file-unreadable", "cannot read the backup: %w", err)
	}
	defer func() { _ = from.Close() }()
	plain, err := sealed.OpenStream(ctx, keys, from)
	if err == nil {
		err = readParts(plain, use)
	}
	if errors.Is(err, keystore.ErrLocked) || errors.Is(err, keystore.ErrDamaged) { // another file, or another key, has to be named
		return problem.New(problem.Invalid, problem.From(err).Code, "%s: %w", c.Source, err)
	}
	return err
}

func readParts(from io.Reader, use func(*backup.Reader) error) error {
	r, err := backup.NewReader(from)
	if err != nil {
		return err
	}
	return use(r)
}

// check reads all of the backup, and says whether this program and configuration can restore it.
func (c *restoreCommand) check(ctx context.Context, cfg config.Config, keys sealed.Options) (about backup.About, parts int, err error) {
	err = c.read(ctx, keys, func(r *backup.Reader) error {
		if about = r.About(); err == nil {
			err = fits(about, cfg)
		}
		for err == nil {
			if _, _, err = r.Next(); err == nil {
				parts++
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
	return about, parts, err
}

func fits(about backup.About, cfg config.Config) error {
	kind, newest := backup.SQLite, sqlite.Level
	if cfg.Database.URL != "" {
		kind, newest = backup.Postgres, postgres.Level
	}
	level, err := newest()
	switch {
	case err != nil:
		return err
	case about.Kind != kind:
		return misused("backup-other-size", "the backup is of %s, and the configuration is for %s; name the configuration that it was made with", about.Kind, kind)
	case about.Level > level:
		return misused("backup-too-new", "the backup is of level %d and this program knows %d; restore it with the program %s or a newer one", about.Level, level, about.Program)
	case about.ChainID != cfg.Chain.ID:
		return misused("chain-changed", "the backup belongs to chain %d, and chain.id is %d; set chain.id back", about.ChainID, cfg.Chain.ID)
	}
	return nil
}

// restoreDatabase fills a database, and lets the application's user in last.
func (c *restoreCommand) restoreDatabase(ctx context.Context, cfg config.Config, r *backup.Reader, s *screen) (left aside, err error) {
	if c.Admin == "" {
		return left, misused("database-url-invalid", "there is no administrator's URL; set AVAL_DATABASE_ADMIN to postgres://user:password@host:port/name, the database to restore into")
	}
	user := postgres.User{Name: c.User}
	if c.Password != "" {
		kind, where := config.Database{Password: c.Password}.Source()
		if user.Password, err = readPassword(kind, where, "--password"); err != nil {
			return left, err
		}
	}
	if err := postgres.Load(ctx, c.Admin, r.About().Level, c.Replace, r.Next); err != nil {
		return left, err
	}
	as := cfg
	as.Database.URL, as.Database.Password = config.Endpoint(c.Admin), ""
	as.KeyManager.Address = "" // it is stopped, like all others: what it serves is asked itself
	storage, err := openDatabase(ctx, as, nil)
	if err != nil {
		return left, err
	}
	left, err = setAside(ctx, storage, r.About(), s)
	if err = errors.Join(err, storage.close()); err != nil {
		return left, err
	}
	return left, postgres.Grant(ctx, c.Admin, user)
}

// aside is what a restore has set aside.
type aside struct{ keys, parked int }

// restorable is a registry that sets aside all of its keys after a restore; only the client of a key-manager is none.
type restorable interface {
	SetAsideRestored(ctx context.Context, why string) (int, error)
}

// setAside keeps what was restored from acting on decisions that it has forgotten: the keys wait for their chain, and the
// messages for an operator.
func setAside(ctx context.Context, storage storage, about backup.About, s *screen) (left aside, err error) {
	why := "restored from the backup of " + about.Made.Format(time.RFC3339) + "; what was decided later is forgotten"
	registry, is := storage.keys.(restorable)
	if !is {
		return left, problem.New(problem.Internal, "registry-not-restorable", "the keys are leased by a process of its own, which a restore cannot ask; stop it, and leave key_manager.address out")
	}
	if left.keys, err = registry.SetAsideRestored(ctx, why); err != nil {
		return left, err
	}
	defer s.counted()
	messages := guarantee.Service{Store: storage.record, Now: time.Now}
	for from := ""; ; {
		page, next, err := storage.record.Scan(ctx, from, 500)
		if err != nil {
			return left, err
		}
		for _, m := range page {
			if m.Archived || m.Status == guarantee.Parked || m.Status.Terminal() {
				continue
			}
			if err := messages.Park(ctx, m.ID, "restore", why); err != nil {
				return left, err
			}
			left.parked++
			s.counting("Parking messages: %d", left.parked)
		}
		if next == "" || len(page) > 0 && page[len(page)-1].Archived { // the live ones come first
			return left, nil
		}
		from = next
	}
}

// tell says what the operator has to do.
func (a aside) tell(s *screen, about backup.About) {
	s.say("Restored: the state of %s. %d keys are set aside, %d messages that were on their way are parked.", moment(about.Made), a.keys, a.parked)
	s.note(`
What was accepted and decided since then is forgotten, and may have been paid. Nothing is signed with a key until the chain has mined
just what the backup knows of. Now:

  1. Start Aval. Keys whose chain agrees are free within seconds; aval key list shows the others.
  2. A key with key-foreign-use has paid what is forgotten here. Look its address up in an explorer of the chain: each transaction from
     nonce "next nonce" on belongs to a message that is parked here, or to one that was accepted later. Then
     aval key acknowledge KEY --spent N --reason '…'.
  3. aval message resume --held-by restore --dry-run, and then without --dry-run: resumes those whose key has paid nothing that is
     forgotten, and lists the others. Resume of these what was not paid, %s, and leave parked what was.
  4. Tell clients that ids and messages from after %s are unknown here: sent again under a new id they would be paid again.`,
		"aval message resume MESSAGE", fmt.Sprint(moment(about.Made)))
}

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
)

// storeFlags say which key store is meant.
type storeFlags struct {
	settings `embed:""`
	File     string `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file of the platform." placeholder:"FILE"`
	Admin    string `env:"AVAL_DATABASE_ADMIN" help:"With keys in a database: URL of an administrator. Better in the environment than on the command line." placeholder:"URL"`
}

// custody reads the configuration, and the passphrase when there is one.
func (f storeFlags) custody(s *screen) (c config.Config, o sealed.Options, err error) {
	if c, err = f.read(f.File); err != nil {
		return c, o, err
	}
	o = sealed.Options{KeyFile: c.Custody.KeyFile}
	o.Passphrase, err = readPassphrase(c.Custody, s)
	return c, o, err
}

type keyRotate struct {
	storeFlags
	KeyFile    string `help:"The file of the new key-encryption key; made when it is missing." placeholder:"FILE"`
	Passphrase string `help:"Where the new passphrase comes from instead: prompt, file:PATH or env:NAME." placeholder:"SOURCE"`
}

// Help is shown by aval key rotate-kek --help.
func (keyRotate) Help() string {
	return `The data key that seals all signing keys is wrapped anew; the keys themselves stay as they are. Processes that run go on, and are given the new key-encryption key (custody.key_file or custody.passphrase) before their next start. Keys in a database are changed by its administrator.

Copies of the key store from before, backups too, still open with the former key-encryption key: keep it as long as you keep them, and destroy both together.

    aval key rotate-kek --config aval.yaml --key-file /secure/aval-2.kek`
}

// Run is the command.
func (c *keyRotate) Run(ctx context.Context, s *screen) (err error) {
	cfg, former, err := c.custody(s)
	if err != nil {
		return err
	}
	fresh := sealed.Options{KeyFile: c.KeyFile}
	if c.KeyFile == cfg.Custody.KeyFile && c.KeyFile != "" {
		return misused("keystore-misconfigured", "%s is the key-encryption key of now; name another file for the new one", c.KeyFile)
	}
	if fresh.Passphrase, err = readPassphrase(config.Custody{Passphrase: c.Passphrase}, s); err != nil {
		return err
	}
	if cfg.Database.URL == "" {
		former.Folder = filepath.Join(cfg.Data, "keys")
	} else {
		admin, err := c.administer(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, admin.Close(ctx)) }()
		former.Blobs = admin
	}
	if err := sealed.Rewrap(ctx, former, fresh); err != nil {
		return wrongKey(err)
	}
	s.answer(map[string]string{"keyFile": c.KeyFile, "passphrase": c.Passphrase}, func() {
		s.say("The keys open with the new key-encryption key alone. Set custody to it before the next start; copies from before need the former one.")
	})
	return nil
}

func (f storeFlags) administer(ctx context.Context) (*postgres.Sealed, error) {
	if f.Admin == "" {
		return nil, misused("database-url-invalid", "the keys are in a database, whose application's user can change none; set AVAL_DATABASE_ADMIN to an administrator's URL, postgres://user:password@host:port/name")
	}
	return postgres.ConnectSealed(ctx, f.Admin)
}

type keyImport struct {
	storeFlags
	Folder string `arg:"" help:"The folder of the sealed keys: keys in a data folder."`
}

// Help is shown by aval key import --help.
func (keyImport) Help() string {
	return `Sealed keys of a data folder come into the database, so that its processes share no folder. They are copied as they are sealed; the key-encryption key stays the same, and is what the configuration names. Damaged, weak and duplicate keys are refused. Interrupted, it goes on when it is called again; nothing is replaced, and the folder stays as it is.

    aval key import aval-data/keys --config aval.yaml`
}

// Run is the command.
func (c *keyImport) Run(ctx context.Context, s *screen) (err error) {
	cfg, from, err := c.custody(s)
	if err != nil {
		return err
	}
	if cfg.Database.URL == "" {
		return misused("import-needs-database", "keys are imported into a PostgreSQL database; set database.url")
	}
	if _, err := os.Stat(filepath.Join(c.Folder, "store.json")); err != nil {
		return misused("keystore-missing", "there is no key store in %s: %w", c.Folder, err)
	}
	from.Folder = c.Folder
	store, err := sealed.Open(ctx, from)
	if err != nil {
		return wrongKey(err)
	}
	address, err := databaseURL(cfg.Database)
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, address, postgres.Options{Name: program, Pool: 2})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	keys, err := importKeys(ctx, store, db)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"keys": keys}, func() {
		s.say("%d keys are in the database now. Keep the folder until Aval has started on it, then remove it.", keys)
	})
	return nil
}

// importKeys copies a key store into the database that it belongs to.
func importKeys(ctx context.Context, store *sealed.Store, db *postgres.DB) (keys int, err error) {
	name, err := keystoreName(ctx, store)
	if err != nil {
		return 0, err
	}
	in, begun, err := db.Installation(ctx)
	if err != nil {
		return 0, err
	}
	if begun && in.Keystore != name {
		return 0, misused("database-of-another-cluster", "the folder's keys are not those that this database belongs to; nothing was imported")
	}
	return store.Import(ctx, postgres.NewSealed(db))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/backup"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/problem"
)

// saved are the flags of backup and restore: which installation is meant.
type saved struct {
	settings `embed:""`
	File     string `name:"config" env:"AVAL_CONFIG" help:"Configuration file of the platform. Without it: the data folder of aval dev." placeholder:"FILE"`
}

// open reads the configuration and the key-encryption key that it names.
func (f saved) open(s *screen) (c config.Config, o sealed.Options, err error) {
	if c, err = f.read(f.File); err != nil {
		return c, o, err
	}
	o = sealed.Options{KeyFile: c.Custody.KeyFile}
	o.Passphrase, err = readPassphrase(c.Custody, s)
	return c, o, err
}

type backupCommand struct {
	saved
	Target string `arg:"" name:"file" help:"The file to write. None is replaced."`
}

// Help is shown by aval backup --help.
func (backupCommand) Help() string {
	return `Everything of an installation as it is at one moment, while Aval runs: messages, history, archive, decisions, sealed keys, clients, wallets. Not in it are the read model, which is made anew, and a development chain.

The file is sealed as a whole, with the data key that seals the signing keys: it opens with the key-encryption key, which is not in it. Keep that elsewhere.

    aval backup --config aval.yaml aval-2026-11-21.backup
    aval restore --config aval.yaml --check aval-2026-11-21.backup`
}

// Run is the command.
func (c *backupCommand) Run(ctx context.Context, s *screen) error {
	cfg, keys, err := c.open(s)
	if err != nil {
		return err
	}
	about, err := c.save(ctx, cfg, keys, s)
	s.counted()
	if err != nil {
		return wrongKey(err)
	}
	info, err := os.Stat(c.Target)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"file": c.Target, "bytes": info.Size(), "about": about}, func() {
		s.facts([2]string{"file", c.Target}, [2]string{"size", fmt.Sprint(info.Size(), " bytes")}, [2]string{"state of", moment(about.Made)}, [2]string{"of", fmt.Sprintf("%s, level %d, chain %d", about.Kind, about.Level, about.ChainID)})
		s.note("\nIt opens with the key-encryption key alone. aval restore --check %s reads all of it.", c.Target)
	})
	return nil
}

// save writes the file under a passing name first, so that one of its name is whole.
func (c *backupCommand) save(ctx context.Context, cfg config.Config, keys sealed.Options, s *screen) (about backup.About, err error) {
	if _, err := os.Lstat(c.Target); !errors.Is(err, fs.ErrNotExist) {
		return about, problem.New(problem.Conflict, "file-exists", "there is a file %s already; name another one", c.Target)
	}
	partial := c.Target + ".partial"
	to, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return about, misused("file-unwritable", "cannot write the backup: %w; name a file in a folder that can be written to", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	if cfg.Database.URL == "" {
		about, err = saveFiles(ctx, cfg, keys, to, s)
	} else {
		about, err = saveDatabase(ctx, cfg, keys, to, s)
	}
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return about, err
	}
	return about, os.Rename(partial, c.Target)
}

// sealedBackup begins a backup in a sealed stream; close ends both.
func sealedBackup(ctx context.Context, store *sealed.Store, to io.Writer, about backup.About) (w *backup.Writer, end func() error, err error) {
	stream, err := store.SealStream(ctx, to)
	if err != nil {
		return nil, nil, err
	}
	if w, err = backup.NewWriter(stream, about); err != nil {
		return nil, nil, err
	}
	return w, func() error { return errors.Join(w.Close(), stream.Close()) }, nil
}

// saveFiles backs a data folder up. The keys are read after the database: each key that it knows is among them.
func saveFiles(ctx context.Context, cfg config.Config, keys sealed.Options, to io.Writer, s *screen) (about backup.About, err error) {
	if _, err := os.Stat(filepath.Join(cfg.Data, "aval.db")); err != nil {
		return about, misused("storage-missing", "there is no database in %s; name the folder with --data or --config", cfg.Data)
	}
	in, err := openInstallation(cfg.Data, cfg.Chain.ID)
	if err != nil {
		return about, err
	}
	level, err := sqlite.Level()
	if err != nil {
		return about, err
	}
	keys.Folder = filepath.Join(cfg.Data, "keys")
	store, err := sealed.Open(ctx, keys)
	if err != nil {
		return about, err
	}
	passing, err := os.MkdirTemp(cfg.Data, ".backup-")
	if err != nil {
		return about, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(passing)) }()
	about = backup.About{Kind: backup.SQLite, Level: level, Program: version(), Made: time.Now().UTC(), ChainID: in.ChainID, Genesis: in.Genesis, Contract: in.Contract.Hex()}
	copied := filepath.Join(passing, "aval.db")
	if err := sqlite.Copy(ctx, filepath.Join(cfg.Data, "aval.db"), copied, func(done, all int64) { s.counting("Copying the database: %d of %d pages", done, all) }); err != nil {
		return about, err
	}
	w, end, err := sealedBackup(ctx, store, to, about)
	if err != nil {
		return about, err
	}
	for name, path := range map[string]string{"aval.db": copied, "installation.json": filepath.Join(cfg.Data, "installation.json")} {
		if err := savePart(w, name, path); err != nil {
			return about, err
		}
	}
	return about, errors.Join(saveKeys(w, keys.Folder), end())
}

func savePart(w *backup.Writer, name, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	part := w.Part(name)
	_, err = io.Copy(part, from)
	return errors.Join(err, part.Close(), from.Close())
}

// saveKeys saves what is sealed, as it is sealed.
func saveKeys(w *backup.Writer, folder string) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name()[0] == '.' {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		return savePart(w, "keys/"+filepath.ToSlash(name), path)
	})
}

// saveDatabase backs a PostgreSQL database up.
func saveDatabase(ctx context.Context, cfg config.Config, keys sealed.Options, to io.Writer, s *screen) (about backup.About, err error) {
	address, err := databaseURL(cfg.Database)
	if err != nil {
		return about, err
	}
	blobs, err := postgres.ConnectSealed(ctx, address)
	if err != nil {
		return about, err
	}
	defer func() { err = errors.Join(err, blobs.Close(ctx)) }()
	keys.Blobs = blobs
	store, err := sealed.Open(ctx, keys)
	if err != nil {
		return about, err
	}
	snapshot, err := postgres.OpenSnapshot(ctx, address)
	if err != nil {
		return about, err
	}
	defer func() { err = errors.Join(err, snapshot.Close(ctx)) }()
	in := snapshot.Installation
	about = backup.About{Kind: backup.Postgres, Level: snapshot.Level, Program: version(), Made: time.Now().UTC(), ChainID: uint64(in.ChainID), Genesis: in.Genesis, Contract: common.BytesToAddress(in.Contract).Hex()}
	w, end, err := sealedBackup(ctx, store, to, about)
	if err != nil {
		return about, err
	}
	err = snapshot.Write(ctx, w.Part, func(table string, done, all int) {
		s.counting("Copying the database: %s, %d of %d tables", table, done, all)
	})
	return about, errors.Join(err, end())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/backup"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/problem"
)

// belongings are what of a data folder a backup replaces; first comes what says that there is data.
var belongings = []string{"aval.db", "aval.db-wal", "aval.db-shm", "reference.db", "reference.db-wal", "reference.db-shm", "keys", "installation.json"}

// restoring is there while a data folder is neither the former one nor the restored one.
const restoring = "restoring"

// checkRestored refuses a data folder in which a restore was interrupted.
func checkRestored(folder string) error {
	if _, err := os.Stat(filepath.Join(folder, restoring)); err == nil {
		return problem.New(problem.Invalid, "restore-interrupted", "a restore into the data folder %s was interrupted; run it again with --replace", folder)
	}
	return nil
}

// restoreFiles fills a data folder: beside its place first, where the keys are set aside, and then into it.
func restoreFiles(ctx context.Context, cfg config.Config, r *backup.Reader, replace bool, s *screen) (left aside, err error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return left, problem.New(problem.Unavailable, "storage-unwritable", "cannot make the data folder %s: %w", cfg.Data, err)
	}
	held, err := sqlite.Hold(filepath.Join(cfg.Data, "aval.db"))
	if err != nil {
		return left, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if _, err := os.Lstat(filepath.Join(cfg.Data, belongings[0])); !errors.Is(err, fs.ErrNotExist) && !replace {
		return left, problem.New(problem.Conflict, "restore-not-empty", "the data folder %s has data already; restore into another one, or move what is in it aside with --replace", cfg.Data)
	}
	fresh, err := os.MkdirTemp(cfg.Data, ".restore-")
	if err != nil {
		return left, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := unpack(r, fresh); err != nil {
		return left, err
	}
	storage, err := openFiles(ctx, fresh, nil)
	if err != nil {
		return left, err
	}
	left, err = setAside(ctx, storage, r.About(), s)
	if err = errors.Join(err, storage.close()); err != nil {
		return left, err
	}
	return left, swap(cfg.Data, fresh)
}

// unpack writes the parts of a backup as files, synced.
func unpack(r *backup.Reader, folder string) error {
	for {
		name, from, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(name) {
			return problem.New(problem.Invalid, "backup-damaged", "the backup has a part %q, which leads elsewhere", name)
		}
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, from)
		if err = errors.Join(err, to.Sync(), to.Close(), syncFolder(filepath.Dir(path))); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
}

// swap moves what is there aside and the restored in its place. Interrupted, it leaves a folder that no process starts on.
func swap(folder, fresh string) error {
	mark := filepath.Join(folder, restoring)
	if err := writeDurably(mark, []byte("a restore was begun\n")); err != nil {
		return err
	}
	former := filepath.Join(folder, "replaced-"+time.Now().UTC().Format("20060102T150405Z"))
	for _, from := range []struct{ old, now string }{{folder, former}, {fresh, folder}} {
		for _, name := range belongings {
			if from.old == fresh && strings.HasPrefix(name, "reference.") {
				continue // it is made anew
			}
			if err := move(filepath.Join(from.old, name), filepath.Join(from.now, name)); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(syncFolder(folder), os.Remove(mark)); err != nil {
		return err
	}
	return syncFolder(folder)
}

// move renames what is there.
func move(from, to string) error {
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

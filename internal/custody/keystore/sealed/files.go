package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files serves keystore.Blobs from the files of a folder, readable by their owner alone. Folders are made as they are needed.
type Files struct{ folder string }

// NewFiles keeps files in a folder, which need not be there yet.
func NewFiles(folder string) *Files { return &Files{folder} }

// Where is the file's path.
func (f *Files) Where(name string) string { return filepath.Join(f.folder, filepath.FromSlash(name)) }

// Get reads a file.
func (f *Files) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile(f.Where(name))
}

// Add writes a new file so that after a crash it is whole or absent, and refuses to replace one: it is written under a passing
// name, synced, linked to its own, and the folder is synced.
func (f *Files) Add(ctx context.Context, name string, content []byte) error {
	return f.put(ctx, name, content, os.Link)
}

// Replace writes a file in the place of another. Of two that replace the same one the later wins.
func (f *Files) Replace(ctx context.Context, name string, former, content []byte) error {
	is, err := f.Get(ctx, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(is, former) {
		return fmt.Errorf("replace %s, which is another one now: %w", f.Where(name), fs.ErrNotExist)
	}
	return f.put(ctx, name, content, os.Rename)
}

func (f *Files) put(ctx context.Context, name string, content []byte, settle func(from, to string) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := f.Where(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	passing, err := writeSynced(filepath.Dir(path), content)
	if err != nil {
		return err
	}
	err = settle(passing, path)
	if gone := os.Remove(passing); !errors.Is(gone, fs.ErrNotExist) { // a rename has taken it away
		err = errors.Join(err, gone)
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func writeSynced(folder string, content []byte) (path string, err error) {
	f, err := os.CreateTemp(folder, ".new-*") // 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// List gives the names of the files in a folder.
func (f *Files) List(ctx context.Context, folder string) (names []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(f.Where(folder)) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, folder+"/"+e.Name())
		}
	}
	return names, err
}

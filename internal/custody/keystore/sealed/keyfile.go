package sealed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/avalhq/aval/internal/problem"
)

// checkBeside refuses a key file inside of the store's folder: a copy of the folder would be a copy of the keys in clear.
func (o Options) checkBeside() error {
	if o.KeyFile == "" || o.Folder == "" {
		return nil
	}
	folder, err := resolve(o.Folder)
	if err != nil {
		return locked("cannot find the key store's folder: %w", err)
	}
	place, err := resolve(filepath.Dir(o.KeyFile))
	if err != nil {
		return locked("cannot find the folder of the key file: %w", err)
	}
	if target, err := resolve(o.KeyFile); err == nil { // it may be a link into the folder
		place = filepath.Dir(target)
	}
	if inside, err := filepath.Rel(folder, place); err == nil && inside != ".." && !strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
		return invalid("the key file %s lies inside of the key store %s, which it should protect: keep it elsewhere, where backups of the store do not reach", o.KeyFile, o.Folder)
	}
	return nil
}

func resolve(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// makeFolders makes the store's folder and that of the key file.
func (o Options) makeFolders() error {
	var folders []string
	if o.Folder != "" {
		folders = append(folders, filepath.Join(o.Folder, "keys"))
	}
	if o.KeyFile != "" {
		folders = append(folders, filepath.Dir(o.KeyFile))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return problem.New(problem.Unavailable, "keystore-unwritable", "cannot make a folder for the key store: %w; check the permissions", err)
		}
	}
	return nil
}

// readKeyFile reads a key-encryption key, or makes one. Others than its owner may not read it.
func readKeyFile(ctx context.Context, path string, create bool) ([]byte, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && create {
		if err := makeKeyFile(ctx, path); err != nil {
			return nil, problem.New(problem.Unavailable, "keystore-unwritable", "cannot make the key file %s: %w; check the folder and its permissions", path, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, locked("cannot read the key file of the key store: %w; give the one that the store was made with, custody.key_file", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, locked("the key file %s can be read by others than its owner (%v): make it 0600, and consider who has seen it", path, info.Mode().Perm())
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, locked("cannot read the key file of the key store: %w", err)
	}
	if len(secret) != keySize {
		return nil, locked("the key file %s holds %d bytes, not the %d of a key-encryption key", path, len(secret), keySize)
	}
	return secret, nil
}

// makeKeyFile writes a fresh key. One that another process made meanwhile is taken as it is.
func makeKeyFile(ctx context.Context, path string) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	defer clear(secret)
	err := NewFiles(filepath.Dir(path)).Add(ctx, filepath.Base(path), secret)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write it: %w", err)
	}
	return nil
}

package sealed

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/avalhq/aval/internal/problem"
)

// place writes a new file so that after a crash it is whole or absent, and refuses to replace one (fs.ErrExist): it is
// written under a passing name, synced, linked to its own, and the folder is synced.
func place(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// makeFolders makes the store's folder and that of the key file.
func (o Options) makeFolders() error {
	folders := []string{filepath.Join(o.Folder, "keys")}
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

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// readKeyFile reads a key-encryption key, or makes one. Others than its owner may not read it.
func readKeyFile(path string, create bool) ([]byte, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && create {
		if err := makeKeyFile(path); err != nil {
			return nil, problem.New(problem.Unavailable, "keystore-unwritable", "cannot make the key file %s: %w; check the folder and its permissions", path, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, locked("cannot read the key file of the key store: %w", err)
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
func makeKeyFile(path string) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	defer clear(secret)
	if err := place(path, secret); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write it: %w", err)
	}
	return nil
}

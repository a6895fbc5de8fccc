package devchain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// begun is a file that is there once the chain's first block is on stable storage. A process killed while the node makes
// its database can leave one that the node cannot open again; nothing of it was ever seen, so it is made anew.
const begun = "begun"

func (c *Chain) clearUnbegun() error {
	if c.config.Folder == "" {
		return nil
	}
	_, err := os.Stat(c.path(begun))
	if errors.Is(err, os.ErrNotExist) {
		err = os.RemoveAll(c.stack.ResolvePath("chaindata"))
	}
	if err != nil {
		return fmt.Errorf("looking for the beginning of the chain in its folder: %w", err)
	}
	return nil
}

func (c *Chain) markBegun() error {
	if c.config.Folder == "" {
		return nil
	}
	if _, err := os.Stat(c.path(begun)); err == nil {
		return nil
	}
	return storeFile(c.path(begun), "The first block is stored. Without this file the chain begins anew.\n")
}

// storeFile writes a file that only its owner may read, so that it is either whole and durable or not there.
func storeFile(path, content string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("storing %s: %w", path, err)
	}
	_, err = file.WriteString(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("storing %s: %w", path, errors.Join(err, os.Remove(file.Name())))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("storing the folder %s: %w", path, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("storing the folder %s: %w", path, err)
	}
	return nil
}

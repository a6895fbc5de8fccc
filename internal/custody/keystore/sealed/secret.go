package sealed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

// secretSize is the length of a secret in bytes.
const secretSize = 32

// secretFile is what the file of a secret holds, as JSON.
type secretFile struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	Sealed  []byte `json:"sealed"`
}

// Secret gives 32 random bytes that the store keeps under a name, sealed like the keys, and makes them when they are asked
// for first. They are for what a process has to know in clear, such as a key for MACs: never a key that signs.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	if !ids.MatchString(name) {
		return nil, problem.New(problem.Invalid, "key-id-malformed", "%q cannot be a secret's name: want lower-case letters, digits, _ and -", name)
	}
	place := "secrets/" + name + ".sealed"
	content, err := s.blobs.Get(ctx, place)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeSecret(ctx, place, name); err != nil && !errors.Is(err, fs.ErrExist) { // another process may have been first
			return nil, unwritable("the secret "+name, err)
		}
		content, err = s.blobs.Get(ctx, place)
	}
	if err != nil {
		return nil, unreadable(s.blobs.Where(place), err)
	}
	var f secretFile
	if err := json.Unmarshal(content, &f); err == nil && f.Version == 1 && f.Name == name {
		if secret, err := s.data.Decrypt(f.Sealed, secretSeal(name)); err == nil && len(secret) == secretSize {
			return secret, nil
		}
	}
	return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s does not hold the secret %s as it was sealed; restore it from a backup", s.blobs.Where(place), name)
}

func (s *Store) makeSecret(ctx context.Context, place, name string) error {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	defer clear(secret)
	sealed, err := s.data.Encrypt(secret, secretSeal(name))
	if err != nil {
		return err
	}
	content, err := json.Marshal(secretFile{Version: 1, Name: name, Sealed: sealed})
	if err != nil {
		return err
	}
	if err := s.faults.Hit("keystore.secret.before"); err != nil {
		return err
	}
	if err := s.blobs.Add(ctx, place, content); err != nil {
		return err
	}
	return s.faults.Hit("keystore.secret.after")
}

// secretSeal is what the seal covers besides the secret.
func secretSeal(name string) []byte { return []byte("aval secret 1\n" + name) }

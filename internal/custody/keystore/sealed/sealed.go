// Package sealed keeps private keys where bytes are kept (keystore.Blobs), each sealed with AES-256-GCM: in files, or in the
// database that several processes share.
//
// It is an envelope: a data key (a Tink keyset, made with the store) seals each private key; a key-encryption key, which
// is never stored with them, wraps the data key. The key-encryption key is 32 random bytes in a file of its own, outside
// of the store's folder, or comes from a passphrase through scrypt. Changing it means wrapping the data key anew, not
// touching the keys.
//
//	store.json               how the data key is wrapped (kind, salt and cost of scrypt), and the wrapped data key
//	keys/<id>.sealed         the public key, and the sealed private key
//	secrets/<name>.sealed    a sealed secret that is no signing key
//
// The seal of a key covers its id and public key, so that values cannot be swapped or renamed. No key is ever overwritten.
// Fault points: keystore.generate and keystore.secret, before and after the write.
//
// Private bytes exist in clear only inside of a handle, in a function's closure that neither fmt, encoding nor slog can
// look into (A29). They are in the process's memory while the handle is in use or cached: who can read that memory, has
// the keys. For more than that there are HSMs.
package sealed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/maypok86/otter/v2"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// Options of a Store.
type Options struct {
	Folder     string         // of a store in files; made when it is missing and Create is set
	Blobs      keystore.Blobs // where a store elsewhere is; exactly one of Folder and Blobs is given
	KeyFile    string         // holds the key-encryption key; exactly one of KeyFile and Passphrase is given
	Passphrase []byte         // at least 8 bytes; the caller may wipe it after Open
	Create     bool           // make the store, and the KeyFile, when there are none
	Cost       int            // log2 of scrypt's N for a new store; 0 means 17: about half a second and 128 MB at each start
	Cache      int            // opened keys that are kept; 0 means 1024
	Faults     *fault.Points  // for tests; nil in production
}

// Store serves keystore.Store from what it has sealed. It is safe for concurrent use.
type Store struct {
	blobs  keystore.Blobs
	data   tink.AEAD
	opened *otter.Cache[string, *Handle]
	faults *fault.Points
}

// Open opens the store, or makes it where Options.Create allows. A wrong passphrase or key file is keystore-locked.
func Open(ctx context.Context, options Options) (*Store, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	if options.Create {
		if err := options.makeFolders(); err != nil {
			return nil, err
		}
	}
	blobs, err := options.blobs()
	if err != nil {
		return nil, err
	}
	data, err := options.dataKey(ctx, blobs)
	if err != nil {
		return nil, err
	}
	size := options.Cache
	if size <= 0 {
		size = 1024
	}
	opened, err := otter.New(&otter.Options[string, *Handle]{MaximumSize: size})
	if err != nil {
		return nil, fmt.Errorf("make the cache of opened keys: %w", err)
	}
	return &Store{blobs: blobs, data: data, opened: opened, faults: options.Faults}, nil
}

// blobs is where the store is.
func (o Options) blobs() (keystore.Blobs, error) {
	if o.Blobs != nil {
		return o.Blobs, nil
	}
	return NewFiles(o.Folder), o.checkBeside()
}

// file is what a .sealed file holds, as JSON.
type file struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Public  string `json:"public"` // uncompressed, in hex
	Sealed  []byte `json:"sealed"` // the 32 bytes of the private key
}

// sealOf is what the seal covers besides the private key.
func sealOf(id, public string) []byte { return []byte("aval key 1\n" + id + "\n" + public) }

// ids are parts of names: nothing in them may lead elsewhere.
var ids = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)

func nameOf(id string) (string, error) {
	if !ids.MatchString(id) {
		return "", problem.New(problem.Invalid, "key-id-malformed", "%q cannot be a key's id: want lower-case letters, digits, _ and -", id)
	}
	return "keys/" + id + ".sealed", nil
}

// Generate makes a key from the system's randomness and seals it.
func (s *Store) Generate(ctx context.Context, id string) (keystore.Handle, error) {
	name, err := nameOf(id)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	private, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make the key %s: %w", id, err)
	}
	content, err := s.seal(id, private)
	if err != nil {
		return nil, fmt.Errorf("seal the key %s: %w", id, err)
	}
	if err := s.faults.Hit("keystore.generate.before"); err != nil {
		return nil, fmt.Errorf("write the key %s: %w", id, err)
	}
	err = s.blobs.Add(ctx, name, content)
	if errors.Is(err, fs.ErrExist) {
		return nil, problem.New(keystore.ErrExists.Kind, keystore.ErrExists.Code, "the key store has a key %s already; it was left as it is", id)
	}
	if err != nil {
		return nil, unwritable("the key "+id, err)
	}
	if err := s.faults.Hit("keystore.generate.after"); err != nil {
		return nil, fmt.Errorf("write the key %s: %w", id, err)
	}
	return s.remember(newHandle(id, private)), nil
}

func (s *Store) seal(id string, private *ecdsa.PrivateKey) ([]byte, error) {
	secret := crypto.FromECDSA(private)
	defer clear(secret)
	public := hex.EncodeToString(crypto.FromECDSAPub(&private.PublicKey))
	sealed, err := s.data.Encrypt(secret, sealOf(id, public))
	if err != nil {
		return nil, err
	}
	return json.Marshal(file{Version: 1, ID: id, Public: public, Sealed: sealed})
}

// Open finds a key.
func (s *Store) Open(ctx context.Context, id string) (keystore.Handle, error) {
	if h, ok := s.opened.GetIfPresent(id); ok {
		return h, nil
	}
	name, err := nameOf(id)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	content, err := s.blobs.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(keystore.ErrUnknown.Kind, keystore.ErrUnknown.Code, "the key store has no key %s: there is no %s", id, s.blobs.Where(name))
	}
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", id, err)
	}
	private, err := s.unseal(id, content)
	if err != nil {
		return nil, damagedKey(s.blobs.Where(name), id, err)
	}
	return s.remember(newHandle(id, private)), nil
}

func damagedKey(where, id string, err error) error {
	return problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s does not hold the key %s as it was sealed (%w); restore it from a backup", where, id, err)
}

func (s *Store) unseal(id string, content []byte) (*ecdsa.PrivateKey, error) {
	var f file
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return nil, errors.New("it is not the JSON that was written") // the decoder's error may quote the content
	}
	if f.Version != 1 || f.ID != id {
		return nil, fmt.Errorf("it is version %d of the key %q", f.Version, f.ID)
	}
	secret, err := s.data.Decrypt(f.Sealed, sealOf(id, f.Public))
	if err != nil {
		return nil, errors.New("its seal is broken")
	}
	defer clear(secret)
	private, err := crypto.ToECDSA(secret)
	if err != nil {
		return nil, errors.New("what it seals is no key")
	}
	return private, nil
}

// remember keeps an opened key; who opened it first wins, so that there is one handle of a key.
func (s *Store) remember(h *Handle) *Handle {
	kept, _ := s.opened.SetIfAbsent(h.id, h)
	return kept
}

// Opened is how many keys are in memory in clear.
func (s *Store) Opened() int {
	s.opened.CleanUp()
	return s.opened.EstimatedSize()
}

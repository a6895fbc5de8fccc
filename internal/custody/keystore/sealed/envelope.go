package sealed

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/scrypt"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

const (
	storeName     = "store.json"
	keySize       = 32 // bytes of a key-encryption key: AES-256
	saltSize      = 16
	leastPhrase   = 8
	defaultCost   = 17
	leastCost     = 10 // below, a stored cost was tampered with; above mostCost, too
	mostCost      = 22
	blockSize     = 8 // scrypt's r
	fromFile      = "file"
	fromScrypt    = "scrypt"
	envelopeScope = "aval key store 1" // what the wrapping covers besides the data key
)

// envelope is what store.json holds.
type envelope struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`           // where the key-encryption key comes from: "file" or "scrypt"
	Salt    []byte `json:"salt,omitempty"` // of scrypt
	Cost    int    `json:"cost,omitempty"` // log2 of scrypt's N; r is 8, p is 1
	Wrapped []byte `json:"wrapped"`        // the data key: an encrypted Tink keyset
}

func (o Options) check() error {
	switch {
	case (o.Folder == "") == (o.Blobs == nil):
		return invalid("the key store needs a folder, or another place for what it seals: give one of them")
	case (o.KeyFile == "") == (len(o.Passphrase) == 0):
		return invalid("the key store opens with a key file or with a passphrase: give one of them")
	case o.KeyFile == "" && len(o.Passphrase) < leastPhrase:
		return invalid("the passphrase of the key store needs %d characters at least", leastPhrase)
	case o.Cost != 0 && (o.Cost < leastCost || o.Cost > mostCost):
		return invalid("the cost of scrypt goes from %d to %d, not %d", leastCost, mostCost, o.Cost)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return problem.New(problem.Invalid, "keystore-misconfigured", format, args...)
}

// unwritable tells that something could not be stored. Who refused it may have said all that there is to say.
func unwritable(what string, err error) error {
	var told *problem.Error
	if errors.As(err, &told) {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return problem.New(problem.Unavailable, "keystore-unwritable", "cannot write %s: %w; check the folder, its permissions and the disk", what, err)
}

func unreadable(where string, err error) error {
	var told *problem.Error
	if errors.As(err, &told) {
		return err
	}
	return locked("cannot read the key store, %s: %w", where, err)
}

func locked(format string, args ...any) error {
	return problem.New(keystore.ErrLocked.Kind, keystore.ErrLocked.Code, format, args...)
}

// dataKey unwraps the store's data key, or makes one.
func (o Options) dataKey(ctx context.Context, blobs keystore.Blobs) (tink.AEAD, error) {
	content, err := blobs.Get(ctx, storeName)
	if errors.Is(err, fs.ErrNotExist) {
		return o.newDataKey(ctx, blobs)
	}
	if err != nil {
		return nil, unreadable(blobs.Where(storeName), err)
	}
	handle, err := o.unwrap(ctx, content, blobs.Where(storeName))
	if err != nil {
		return nil, err
	}
	return aead.New(handle)
}

// unwrap opens an envelope.
func (o Options) unwrap(ctx context.Context, content []byte, where string) (*keyset.Handle, error) {
	var e envelope
	if err := json.Unmarshal(content, &e); err != nil || e.Version != 1 {
		return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s is not what a key store of this version wrote; restore it from a backup", where)
	}
	wrapping, err := o.wrapping(ctx, e, where, false)
	if err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(e.Wrapped)), wrapping, []byte(envelopeScope))
	if err != nil {
		return nil, locked("the key store, %s, does not open with %s; give the one it was made with", where, o.source())
	}
	return handle, nil
}

func (o Options) source() string {
	if o.KeyFile != "" {
		return "the key file " + o.KeyFile
	}
	return "this passphrase"
}

func (o Options) newDataKey(ctx context.Context, blobs keystore.Blobs) (tink.AEAD, error) {
	if !o.Create {
		return nil, locked("there is no key store, %s; check where it should be, or allow it to be made", blobs.Where(storeName))
	}
	if left, err := blobs.List(ctx, "keys"); err != nil || len(left) > 0 {
		return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s is missing, but there are %d keys sealed with what it held; restore it from a backup", blobs.Where(storeName), len(left))
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make the data key: %w", err)
	}
	content, err := o.wrap(ctx, handle, blobs.Where(storeName))
	if err != nil {
		return nil, err
	}
	err = blobs.Add(ctx, storeName, content)
	if errors.Is(err, fs.ErrExist) { // another process was first
		return o.dataKey(ctx, blobs)
	}
	if err != nil {
		return nil, unwritable("the envelope of the key store", err)
	}
	return aead.New(handle)
}

// wrap seals a data key with the key-encryption key, which is made where there is none.
func (o Options) wrap(ctx context.Context, handle *keyset.Handle, where string) ([]byte, error) {
	e := envelope{Version: 1, Kind: fromFile}
	if o.KeyFile == "" {
		e.Kind, e.Cost, e.Salt = fromScrypt, o.Cost, make([]byte, saltSize)
		if e.Cost == 0 {
			e.Cost = defaultCost
		}
		_, _ = rand.Read(e.Salt) // never fails: crypto/rand ends the process instead
	}
	wrapping, err := o.wrapping(ctx, e, where, true)
	if err != nil {
		return nil, err
	}
	var wrapped bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&wrapped), wrapping, []byte(envelopeScope)); err != nil {
		return nil, fmt.Errorf("wrap the data key: %w", err)
	}
	e.Wrapped = wrapped.Bytes()
	return json.MarshalIndent(e, "", "  ")
}

// wrapping is the key-encryption key that the envelope asks for.
func (o Options) wrapping(ctx context.Context, e envelope, where string, create bool) (tink.AEAD, error) {
	var secret []byte
	var err error
	switch {
	case e.Kind == fromFile && o.KeyFile != "":
		secret, err = readKeyFile(ctx, o.KeyFile, create)
	case e.Kind == fromScrypt && o.KeyFile == "":
		if e.Cost < leastCost || e.Cost > mostCost || len(e.Salt) != saltSize {
			return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s asks for a scrypt that it cannot have been made with; restore it from a backup", where)
		}
		secret, err = scrypt.Key(o.Passphrase, e.Salt, 1<<e.Cost, blockSize, 1, keySize)
	case e.Kind == fromFile:
		return nil, locked("the key store, %s, was made with a key file, not with a passphrase", where)
	default:
		return nil, locked("the key store, %s, was made with a passphrase, not with a key file", where)
	}
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return subtle.NewAESGCM(append([]byte(nil), secret...))
}

// Rewrap changes the key-encryption key: the data key is wrapped by that of the fresh options, which is made where there is
// none, and no longer by that of the former ones. The sealed keys stay as they are, and processes that have the store open go
// on. Whoever has the former key-encryption key and an older copy of the envelope can still open that copy.
func Rewrap(ctx context.Context, former, fresh Options) error {
	blobs, err := former.blobs()
	if err != nil {
		return err
	}
	fresh.Folder, fresh.Blobs = former.Folder, former.Blobs
	if err := fresh.check(); err != nil {
		return err
	}
	content, err := blobs.Get(ctx, storeName)
	if err != nil {
		return unreadable(blobs.Where(storeName), err)
	}
	handle, err := former.unwrap(ctx, content, blobs.Where(storeName))
	if err != nil {
		return err
	}
	if err := errors.Join(fresh.makeFolders(), fresh.checkBeside()); err != nil {
		return err
	}
	wrapped, err := fresh.wrap(ctx, handle, blobs.Where(storeName))
	if err != nil {
		return err
	}
	if err := blobs.Replace(ctx, storeName, content, wrapped); err != nil {
		return unwritable("the envelope of the key store", err)
	}
	return nil
}

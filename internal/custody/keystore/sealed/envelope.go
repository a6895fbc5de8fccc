package sealed

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/scrypt"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

const (
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
	case o.Folder == "":
		return invalid("the key store needs a folder")
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

func locked(format string, args ...any) error {
	return problem.New(keystore.ErrLocked.Kind, keystore.ErrLocked.Code, format, args...)
}

// checkBeside refuses a key file inside of the store's folder: a copy of the folder would be a copy of the keys in clear.
func (o Options) checkBeside() error {
	if o.KeyFile == "" || o.AllowBeside {
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

// dataKey unwraps the store's data key, or makes one.
func (o Options) dataKey() (tink.AEAD, error) {
	path := filepath.Join(o.Folder, "store.json")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return o.newDataKey(path)
	}
	if err != nil {
		return nil, locked("cannot read the key store: %w", err)
	}
	var e envelope
	if err := json.Unmarshal(content, &e); err != nil || e.Version != 1 {
		return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s is not what a key store of this version wrote; restore it from a backup", path)
	}
	wrapping, err := o.wrapping(e, false)
	if err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(e.Wrapped)), wrapping, []byte(envelopeScope))
	if err != nil {
		return nil, locked("the key store in %s does not open with %s; give the one it was made with", o.Folder, o.source())
	}
	return aead.New(handle)
}

func (o Options) source() string {
	if o.KeyFile != "" {
		return "the key file " + o.KeyFile
	}
	return "this passphrase"
}

func (o Options) newDataKey(path string) (tink.AEAD, error) {
	if !o.Create {
		return nil, locked("there is no key store in %s; check the folder, or allow it to be made", o.Folder)
	}
	if left, err := filepath.Glob(filepath.Join(o.Folder, "keys", "*.sealed")); err != nil || len(left) > 0 {
		return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "%s is missing, but there are %d keys sealed with what it held; restore it from a backup", path, len(left))
	}
	e := envelope{Version: 1, Kind: fromFile}
	if o.KeyFile == "" {
		e.Kind, e.Cost, e.Salt = fromScrypt, o.Cost, make([]byte, saltSize)
		if e.Cost == 0 {
			e.Cost = defaultCost
		}
		_, _ = rand.Read(e.Salt) // never fails: crypto/rand ends the process instead
	}
	wrapping, err := o.wrapping(e, true)
	if err != nil {
		return nil, err
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make the data key: %w", err)
	}
	var wrapped bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&wrapped), wrapping, []byte(envelopeScope)); err != nil {
		return nil, fmt.Errorf("wrap the data key: %w", err)
	}
	e.Wrapped = wrapped.Bytes()
	content, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := place(path, content); err != nil {
		return nil, problem.New(problem.Unavailable, "keystore-unwritable", "cannot write %s: %w; check the folder, its permissions and the disk", path, err)
	}
	return aead.New(handle)
}

// wrapping is the key-encryption key that the envelope asks for.
func (o Options) wrapping(e envelope, create bool) (tink.AEAD, error) {
	var secret []byte
	var err error
	switch {
	case e.Kind == fromFile && o.KeyFile != "":
		secret, err = readKeyFile(o.KeyFile, create)
	case e.Kind == fromScrypt && o.KeyFile == "":
		if e.Cost < leastCost || e.Cost > mostCost || len(e.Salt) != saltSize {
			return nil, problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "the key store in %s asks for a scrypt that it cannot have been made with; restore store.json from a backup", o.Folder)
		}
		secret, err = scrypt.Key(o.Passphrase, e.Salt, 1<<e.Cost, blockSize, 1, keySize)
	case e.Kind == fromFile:
		return nil, locked("the key store in %s was made with a key file, not with a passphrase", o.Folder)
	default:
		return nil, locked("the key store in %s was made with a passphrase, not with a key file", o.Folder)
	}
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return subtle.NewAESGCM(append([]byte(nil), secret...))
}

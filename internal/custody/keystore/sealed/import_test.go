package sealed

import (
	"errors"
	"math/big"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

func store(t *testing.T) (*Store, Options) {
	t.Helper()
	o := Options{Folder: filepath.Join(t.TempDir(), "store"), KeyFile: filepath.Join(t.TempDir(), "kek"), Create: true}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// plant seals a chosen private key, which Generate would never make.
func plant(t *testing.T, s *Store, id string, d *big.Int) {
	t.Helper()
	private, err := crypto.ToECDSA(d.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	content, err := s.seal(id, private)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.blobs.Add(t.Context(), "keys/"+id+".sealed", content); err != nil {
		t.Fatal(err)
	}
}

func hexKey(t *testing.T, text string) *big.Int {
	t.Helper()
	d, ok := new(big.Int).SetString(text, 16)
	if !ok {
		t.Fatal(text)
	}
	return d
}

// TestA17WeakKeysAreNotImported: keys that somebody has chosen badly, and the one that everybody has.
func TestA17WeakKeysAreNotImported(t *testing.T) {
	order := crypto.S256().Params().N
	for name, d := range map[string]*big.Int{
		"one": big.NewInt(1), "small": new(big.Int).Lsh(big.NewInt(77), 100), "last": new(big.Int).Sub(order, big.NewInt(1)),
		"same bytes": hexKey(t, "1111111111111111111111111111111111111111111111111111111111111111"),
		"repeating":  hexKey(t, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
		"famous":     hexKey(t, "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
	} {
		s, _ := store(t)
		plant(t, s, "key_weak", d)
		to := NewFiles(t.TempDir())
		if n, err := s.Import(t.Context(), to); problem.From(err).Code != "key-weak" {
			t.Errorf("%s: imported %d keys, %v; want key-weak", name, n, err)
		}
		if _, err := to.Get(t.Context(), storeName); err == nil {
			t.Errorf("%s: the store is there all the same", name)
		}
	}
}

func TestRandomKeysAreNotWeak(t *testing.T) {
	for range 1000 {
		private, err := crypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		if why := weakness(private); why != "" {
			t.Fatalf("%x: %s", crypto.FromECDSA(private), why)
		}
	}
}

func TestOneKeyUnderTwoIDsIsNotImported(t *testing.T) {
	s, _ := store(t)
	d := hexKey(t, "7a0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
	plant(t, s, "key_a", d)
	plant(t, s, "key_b", d)
	if _, err := s.Import(t.Context(), NewFiles(t.TempDir())); problem.From(err).Code != "key-duplicate" {
		t.Errorf("imported: %v; want key-duplicate", err)
	}
}

// TestImport: the copy opens with the same key-encryption key and has the same keys and secrets; importing again changes nothing,
// and another store at the place is left alone.
func TestImport(t *testing.T) {
	s, o := store(t)
	k, err := s.Generate(t.Context(), "key_a")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.Secret(t.Context(), "macs")
	if err != nil {
		t.Fatal(err)
	}
	to := NewFiles(filepath.Join(t.TempDir(), "copy"))
	for range 2 {
		if n, err := s.Import(t.Context(), to); n != 1 || err != nil {
			t.Fatalf("imported %d keys, %v", n, err)
		}
	}
	next, err := Open(t.Context(), Options{Blobs: to, KeyFile: o.KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	got, err := next.Open(t.Context(), "key_a")
	if err != nil || !slices.Equal(got.Public(), k.Public()) {
		t.Errorf("the copy has %v, %v", got, err)
	}
	if again, err := next.Secret(t.Context(), "macs"); err != nil || !slices.Equal(again, secret) {
		t.Errorf("the copy has another secret, %v", err)
	}
	other, _ := store(t)
	if _, err := other.Import(t.Context(), to); !errors.Is(err, keystore.ErrExists) {
		t.Errorf("a second store was imported into the first: %v", err)
	}
}

// TestRewrap: afterwards the new key-encryption key opens the store and the former one does not; nothing else has changed.
func TestRewrap(t *testing.T) {
	s, former := store(t)
	k, err := s.Generate(t.Context(), "key_a")
	if err != nil {
		t.Fatal(err)
	}
	wrong := former
	wrong.KeyFile = filepath.Join(t.TempDir(), "wrong")
	if err := Rewrap(t.Context(), wrong, Options{Passphrase: []byte("long enough"), Cost: 10}); !errors.Is(err, keystore.ErrLocked) {
		t.Errorf("changed without the former key-encryption key: %v", err)
	}
	fresh := Options{Passphrase: []byte("long enough"), Cost: 10}
	if err := Rewrap(t.Context(), former, fresh); err != nil {
		t.Fatal(err)
	}
	fresh.Folder = former.Folder
	next, err := Open(t.Context(), fresh)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := next.Open(t.Context(), "key_a"); err != nil || !slices.Equal(got.Public(), k.Public()) {
		t.Errorf("the key is %v, %v", got, err)
	}
	if _, err := Open(t.Context(), former); !errors.Is(err, keystore.ErrLocked) {
		t.Errorf("the former key-encryption key still opens it: %v", err)
	}
	if _, err := s.Generate(t.Context(), "key_b"); err != nil {
		t.Errorf("a process that has the store open cannot go on: %v", err)
	}
	if _, err := next.Open(t.Context(), "key_b"); err != nil {
		t.Errorf("what it made is lost: %v", err)
	}
	file := Options{KeyFile: filepath.Join(t.TempDir(), "new", "kek")}
	if err := Rewrap(t.Context(), fresh, file); err != nil {
		t.Fatal(err)
	}
	file.Folder = former.Folder
	if _, err := Open(t.Context(), file); err != nil {
		t.Error(err)
	}
}

package sealed_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/custody/keystore/keystoretest"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

const phrase = "correct horse battery staple"

func withKeyFile(t testing.TB) sealed.Options {
	return sealed.Options{Folder: filepath.Join(t.TempDir(), "keystore"), KeyFile: filepath.Join(t.TempDir(), "kek"), Create: true, Faults: fault.New()}
}

func withPassphrase(t testing.TB) sealed.Options {
	return sealed.Options{Folder: filepath.Join(t.TempDir(), "keystore"), Passphrase: []byte(phrase), Create: true, Cost: 10, Faults: fault.New()}
}

func open(t testing.TB, o sealed.Options) *sealed.Store {
	t.Helper()
	s, err := sealed.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	return s
}

func harness(o sealed.Options) keystoretest.Harness {
	return keystoretest.Harness{Open: func(t testing.TB) keystore.Store { return open(t, o) }, Faults: o.Faults}
}

func TestConformanceKeyFile(t *testing.T) {
	keystoretest.Run(t, func(t testing.TB) keystoretest.Harness { return harness(withKeyFile(t)) })
}

func TestConformancePassphrase(t *testing.T) {
	keystoretest.Run(t, func(t testing.TB) keystoretest.Harness { return harness(withPassphrase(t)) })
}

func TestFilesConformance(t *testing.T) {
	keystoretest.RunBlobs(t, func(t testing.TB) keystoretest.Places {
		folder := filepath.Join(t.TempDir(), "sealed")
		open := func(testing.TB) keystore.Blobs { return sealed.NewFiles(folder) }
		return keystoretest.Places{Open: open, Admin: open}
	})
}

// refused expects a problem with the code whose sentence names what to look at.
func refused(t *testing.T, o sealed.Options, code, names string) {
	t.Helper()
	s, err := sealed.Open(t.Context(), o)
	if err == nil {
		t.Fatalf("opened %v; want %s", s, code)
	}
	if p := problem.From(err); p.Code != code || !strings.Contains(p.Detail, names) {
		t.Errorf("got %s: %q; want %s and %q named", p.Code, p.Detail, code, names)
	}
	if strings.Contains(err.Error(), phrase) {
		t.Errorf("the error echoes the passphrase: %v", err)
	}
}

func TestWrongPassphraseIsLocked(t *testing.T) {
	o := withPassphrase(t)
	open(t, o)
	o.Passphrase = []byte("correct horse battery stapler")
	refused(t, o, "keystore-locked", "passphrase")
	o.Passphrase, o.KeyFile = nil, filepath.Join(t.TempDir(), "kek")
	refused(t, o, "keystore-locked", "passphrase")
}

func TestWrongKeyFileIsLocked(t *testing.T) {
	o := withKeyFile(t)
	open(t, o)
	right := o.KeyFile
	o.KeyFile = filepath.Join(t.TempDir(), "other")
	refused(t, o, "keystore-locked", "key file")
	if _, err := os.Stat(o.KeyFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key file was made for a store that has another: %v", err)
	}
	write(t, o.KeyFile, bytes.Repeat([]byte{7}, 32))
	refused(t, o, "keystore-locked", o.KeyFile)
	write(t, o.KeyFile, []byte("short"))
	refused(t, o, "keystore-locked", "32")
	o.KeyFile = right
	open(t, o)
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyFileThatOthersMayReadIsRefused(t *testing.T) {
	o := withKeyFile(t)
	open(t, o)
	if err := os.Chmod(o.KeyFile, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(t, o, "keystore-locked", "0600")
}

func TestKeyFileBesideTheKeysIsRefused(t *testing.T) {
	o := withKeyFile(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(o.Folder, link); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{o.Folder, filepath.Join(o.Folder, "keys"), link, filepath.Join(o.Folder, "keys", "..")} {
		o.KeyFile = filepath.Join(place, "kek")
		refused(t, o, "keystore-misconfigured", "elsewhere")
	}
	inside, outside := filepath.Join(o.Folder, "kek"), filepath.Join(t.TempDir(), "kek")
	if err := errors.Join(os.WriteFile(inside, nil, 0o600), os.Symlink(inside, outside)); err != nil {
		t.Fatal(err)
	}
	o.KeyFile = outside
	refused(t, o, "keystore-misconfigured", "elsewhere")
}

func TestMisconfigurationIsRefused(t *testing.T) {
	good := withPassphrase(t)
	for name, spoil := range map[string]func(*sealed.Options){
		"folder": func(o *sealed.Options) { o.Folder = "" },
		"one of": func(o *sealed.Options) { o.Passphrase = nil },
		"give":   func(o *sealed.Options) { o.KeyFile = "kek" },
		"8":      func(o *sealed.Options) { o.Passphrase = []byte("1234567") },
		"scrypt": func(o *sealed.Options) { o.Cost = 40 },
	} {
		o := good
		spoil(&o)
		refused(t, o, "keystore-misconfigured", name)
	}
}

func TestMissingStoreIsNotMadeSilently(t *testing.T) {
	o := withPassphrase(t)
	o.Create = false
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, o, "keystore-locked", o.Folder)

	o.Create = true
	if _, err := open(t, o).Generate(t.Context(), "key_a"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Folder, "store.json")); err != nil {
		t.Fatal(err)
	}
	refused(t, o, "keystore-damaged", "1 keys")
}

func TestDamagedStoreIsNamed(t *testing.T) {
	o := withPassphrase(t)
	open(t, o)
	path := filepath.Join(o.Folder, "store.json")
	for _, content := range []string{"", "{", `{"version":2}`, `{"version":1,"kind":"scrypt","cost":60}`} {
		write(t, path, []byte(content))
		refused(t, o, "keystore-damaged", "backup")
	}
}

// TestSealsHoldTheirPlace: a key's file moved to another's name, or changed in any byte, opens as nothing.
func TestSealsHoldTheirPlace(t *testing.T) {
	o := withPassphrase(t)
	s := open(t, o)
	for _, id := range []string{"key_a", "key_b"} {
		if _, err := s.Generate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(o.Folder, "keys", "key_a.sealed"), filepath.Join(o.Folder, "keys", "key_b.sealed")
	whole, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	damaged := [][]byte{nil, []byte("{}"), whole[:len(whole)-3]}
	for i := 0; i < len(whole); i += 7 {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		damaged = append(damaged, flipped)
	}
	other, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	damaged = append(damaged, other, bytes.Replace(other, []byte("key_b"), []byte("key_a"), 1))
	for _, content := range damaged {
		write(t, a, content)
		if h, err := open(t, o).Open(t.Context(), "key_a"); !errors.Is(err, keystore.ErrDamaged) {
			t.Errorf("opened %q: %v, %v; want keystore-damaged", content, h, err)
		}
	}
}

// TestFilesAreTheOwnersAlone: folders 0700, files 0600, no passing file left.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	o := withKeyFile(t)
	if _, err := open(t, o).Generate(t.Context(), "key_a"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, root := range []string{o.Folder, filepath.Dir(o.KeyFile)} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			seen[d.Name()] = true
			if root == o.Folder && info.Mode().Perm()&0o077 != 0 || !d.IsDir() && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"store.json", "key_a.sealed", "kek"} {
		if !seen[name] {
			t.Errorf("there is no %s in %v", name, seen)
		}
		delete(seen, name)
	}
	for name := range seen {
		if strings.HasPrefix(name, ".") {
			t.Errorf("%s was left behind", name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	o := withPassphrase(t)
	o.Cache = 4
	s := open(t, o)
	var ids []string
	for i := range 64 {
		ids = append(ids, "key_"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		if _, err := s.Generate(t.Context(), ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if _, err := s.Open(t.Context(), id); err != nil {
			t.Errorf("open %s: %v", id, err)
		}
	}
	if n := s.Opened(); n > 4 {
		t.Errorf("%d keys are kept open, want 4 at most", n)
	}
}

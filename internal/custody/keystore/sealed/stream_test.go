package sealed

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/custody/keystore"
)

// TestSealedStream: it opens with the key-encryption key alone; whatever is cut off, added or changed is noticed.
func TestSealedStream(t *testing.T) {
	s, o := store(t)
	plain := bytes.Repeat([]byte("canary "), 400_000)
	var sealed bytes.Buffer
	w, err := s.SealStream(t.Context(), &sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := sealed.Bytes()
	if bytes.Contains(whole, []byte("canary")) {
		t.Error("I25: it can be read by everybody")
	}
	read := func(o Options, content []byte) ([]byte, error) {
		r, err := OpenStream(t.Context(), o, bytes.NewReader(content))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	if got, err := read(o, whole); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened to %d bytes, %v", len(got), err)
	}
	for name, spoilt := range map[string][]byte{
		"empty": nil, "another file": []byte("PGDMP and so on, which is longer than a head"), "cut in the head": whole[:40], "cut": whole[:len(whole)-1], "cut by a segment": whole[:len(whole)-(1<<20)],
		"longer": append(bytes.Clone(whole), 0), "changed head": flip(whole, 100), "changed": flip(whole, len(whole)/2), "changed end": flip(whole, len(whole)-1),
	} {
		if got, err := read(o, spoilt); err == nil || bytes.Equal(got, plain) {
			t.Errorf("%s: opened, %v", name, err)
		}
	}
	if _, err := read(Options{KeyFile: filepath.Join(t.TempDir(), "none")}, whole); !errors.Is(err, keystore.ErrLocked) {
		t.Errorf("opened without the key-encryption key: %v", err)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

package backup_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/backup"
	"github.com/avalhq/aval/internal/problem"
)

func write(t interface{ Fatal(...any) }, parts [][]byte) []byte {
	var to bytes.Buffer
	w, err := backup.NewWriter(&to, backup.About{Kind: backup.SQLite, Level: 3, Made: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for i, content := range parts {
		p := w.Part(name(i))
		for len(content) > 0 { // in pieces
			n := min(len(content), 1<<20+7)
			if _, err := p.Write(content[:n]); err != nil {
				t.Fatal(err)
			}
			content = content[n:]
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func name(i int) string { return "tables/" + strings.Repeat("x", i) + ".copy" }

func read(raw []byte) (parts [][]byte, err error) {
	r, err := backup.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	for {
		_, from, err := r.Next()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		content, err := io.ReadAll(from)
		if err != nil {
			return parts, err
		}
		parts = append(parts, content)
	}
}

// TestWhatIsWrittenIsRead: parts of any length, those of several chunks and empty ones among them.
func TestWhatIsWrittenIsRead(t *testing.T) {
	parts := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("0123456789"), 1<<20), {}}
	got, err := read(write(t, parts))
	if err != nil || len(got) != len(parts) {
		t.Fatalf("read %d parts, %v", len(got), err)
	}
	for i := range parts {
		if !bytes.Equal(got[i], parts[i]) {
			t.Errorf("part %d has %d bytes, want %d", i, len(got[i]), len(parts[i]))
		}
	}
}

// TestWhatIsNotWholeIsDamaged: a backup that was cut anywhere, or in which a byte of a part has changed, is never read to its end.
func TestWhatIsNotWholeIsDamaged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 2000), 1, 4).Draw(t, "parts")
		whole := write(t, parts)
		cut := rapid.IntRange(0, len(whole)-1536).Draw(t, "cut") // what is after the manifest is padding and the end of tar
		if _, err := read(whole[:cut]); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		at := bytes.Index(whole, parts[0])
		if len(parts[0]) < 40 || at < 0 {
			return
		}
		changed := bytes.Clone(whole)
		changed[at] ^= 1
		if _, err := read(changed); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("changed: %v", err)
		}
	})
}

func TestAPartThatIsMissingIsNoticed(t *testing.T) {
	whole := write(t, [][]byte{[]byte("first"), []byte("second")})
	var without bytes.Buffer
	to, from := tar.NewWriter(&without), tar.NewReader(bytes.NewReader(whole))
	for {
		head, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Name == name(1) {
			continue
		}
		if err := to.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, from); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := read(without.Bytes()); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("read without a part: %v", err)
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	whole := bytes.Replace(write(t, nil), []byte(`"version": 1`), []byte(`"version": 9`), 1)
	if _, err := read(whole); problem.From(err).Code != "backup-version" {
		t.Errorf("read: %v", err)
	}
}

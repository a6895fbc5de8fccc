package sqlite_test

import (
	"path/filepath"
	"testing"

	backend "github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/fault"
)

// record opens the file of one test again and again: each time the one before is closed first.
type record struct {
	path   string
	faults *fault.Points
	close  func()
}

func newRecord(t testing.TB) *record {
	r := &record{path: filepath.Join(t.TempDir(), "aval.db"), faults: fault.New(), close: func() {}}
	t.Cleanup(func() { r.close() })
	return r
}

func (r *record) open(t testing.TB) *backend.DB {
	t.Helper()
	r.close()
	db, err := backend.Open(t.Context(), r.path, backend.Options{Faults: r.faults})
	if err != nil {
		t.Fatal(err)
	}
	r.close = func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	return db
}

func TestKeys(t *testing.T) {
	keytest.Run(t, func(t testing.TB) keytest.Harness {
		r := newRecord(t)
		return keytest.Harness{Faults: r.faults, Open: func(t testing.TB) key.Registry { return backend.NewKeys(r.open(t)) }}
	})
}

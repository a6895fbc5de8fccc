package sqlite

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
)

// openRecord opens a system of record; it is closed at the test's end, or before by the func given.
func openRecord(t *testing.T, path string, faults *fault.Points) (*DB, func()) {
	t.Helper()
	db, err := Open(t.Context(), path, Options{Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	closing := sync.OnceFunc(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(closing)
	return db, closing
}

func TestGuarantee(t *testing.T) {
	guaranteetest.Run(t, func(t *testing.T) guaranteetest.Backend {
		return guaranteeAt(t, filepath.Join(t.TempDir(), "aval.db"))
	})
}

func guaranteeAt(t *testing.T, path string) guaranteetest.Backend {
	faults := fault.New()
	db, closeDB := openRecord(t, path, faults)
	g := NewGuarantee(db)
	return guaranteetest.Backend{Store: g, Definitions: g, Calls: g, Faults: faults, Reopen: func(t *testing.T) guaranteetest.Backend {
		closeDB()
		return guaranteeAt(t, path)
	}}
}

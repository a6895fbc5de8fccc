package remote_test

import (
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/custody/key/remote"
)

// onFiles is a key-manager whose registry is in SQLite files.
func onFiles(t testing.TB, plain bool) *site {
	file := filepath.Join(t.TempDir(), "aval.db")
	var last *sqlite.DB
	end := func() {
		if last != nil {
			_ = last.Close() // what was under way has been cut off before
		}
	}
	s := newSite(t, plain, func(t testing.TB) remote.Registry {
		end()
		db, err := sqlite.Open(t.Context(), file, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		last = db
		return sqlite.NewKeys(db)
	})
	t.Cleanup(func() {
		s.stop(t)
		end()
	})
	return s
}

func suites(t *testing.T, fresh func(t testing.TB) *site) {
	keytest.Run(t, func(t testing.TB) keytest.Harness {
		s := fresh(t)
		return keytest.Harness{Faults: s.faults, Open: func(t testing.TB) key.Registry { return s.worker(t) }}
	})
	keytest.RunTrust(t, func(t testing.TB) keytest.TrustHarness {
		s := fresh(t)
		return keytest.TrustHarness{Faults: s.faults, Open: func(t testing.TB) (key.Registry, key.Trust) {
			c := s.worker(t)
			return c, c
		}}
	})
}

func TestKeysOnSQLite(t *testing.T) {
	suites(t, func(t testing.TB) *site { return onFiles(t, false) })
}

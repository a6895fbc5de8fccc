package sqlite_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

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

func TestKeysAreLinearizable(t *testing.T) {
	r := newRecord(t)
	keytest.RunLinear(t, []key.Registry{backend.NewKeys(r.open(t))}, r.faults)
}

func TestTrust(t *testing.T) {
	keytest.RunTrust(t, func(t testing.TB) keytest.TrustHarness {
		r := newRecord(t)
		return keytest.TrustHarness{Faults: r.faults, Open: func(t testing.TB) (key.Registry, key.Trust) {
			keys := backend.NewKeys(r.open(t))
			return keys, keys
		}}
	})
}

// TestI11ClockSetBack: the order of use does not follow a clock that was set back.
func TestI11ClockSetBack(t *testing.T) {
	r := newRecord(t)
	keys := backend.NewKeys(r.open(t))
	for _, id := range []string{"key_a", "key_b"} {
		if err := keys.Add(t.Context(), key.Key{ID: id, Chain: "c", Address: id, Pool: "hot"}); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := sqlite.OpenConn(r.path, sqlite.OpenReadWrite|sqlite.OpenWAL)
	if err != nil {
		t.Fatal(err)
	}
	const in2100 = "UPDATE keys SET last_used = 4102444800000000 WHERE id = 'key_a';"
	if err := errors.Join(sqlitex.ExecuteScript(conn, in2100, nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"key_b", "key_a", "key_b", "key_a"} {
		l, err := keys.Lease(t.Context(), key.Request{Holder: "p/w", Chain: "c", Pool: "hot", TTL: time.Hour})
		if err != nil || l.Key.ID != want {
			t.Fatalf("lease %d is %s, %v; want %s", i, l.Key.ID, err, want)
		}
		if err := keys.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

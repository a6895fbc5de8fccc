//go:build cluster

package postgres_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/custody/keystore/keystoretest"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/problem"
)

// running is one more process on the database, for as long as the test.
func running(t testing.TB, s *storage) *postgres.DB {
	db := another(t, s)
	t.Cleanup(func() { postgres.Crash(db) })
	return db
}

// TestSealed: what a key store seals, in the database. A Replace needs the administrator's rights.
func TestSealed(t *testing.T) {
	keystoretest.RunBlobs(t, func(t testing.TB) keystoretest.Places {
		s := newStorage(t)
		return keystoretest.Places{
			Open: func(t testing.TB) keystore.Blobs { return postgres.NewSealed(running(t, s)) },
			Admin: func(t testing.TB) keystore.Blobs {
				admin, err := postgres.ConnectSealed(t.Context(), s.Admin)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = admin.Close(context.Background()) })
				return admin
			},
		}
	})
}

// TestKeystore: the key store over the database.
func TestKeystore(t *testing.T) {
	keystoretest.Run(t, func(t testing.TB) keystoretest.Harness {
		s, kek := newStorage(t), filepath.Join(t.TempDir(), "kek")
		return keystoretest.Harness{Faults: s.faults, Open: func(t testing.TB) keystore.Store {
			store, err := sealed.Open(t.Context(), sealed.Options{Blobs: postgres.NewSealed(running(t, s)), KeyFile: kek, Create: true, Faults: s.faults})
			if err != nil {
				t.Fatal(err)
			}
			return store
		}}
	})
}

// TestTheApplicationsUserReplacesNoKey: with its own rights a program can add what is sealed, and neither change nor delete it.
func TestTheApplicationsUserReplacesNoKey(t *testing.T) {
	blobs := postgres.NewSealed(newStorage(t).open(t))
	if err := blobs.Add(t.Context(), "store.json", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := blobs.Replace(t.Context(), "store.json", []byte("a"), []byte("b")); problem.From(err).Code != "database-forbidden" {
		t.Errorf("replaced: %v; want database-forbidden", err)
	}
}

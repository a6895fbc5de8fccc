//go:build cluster

package remote_test

import (
	"os"
	"testing"

	"github.com/avalhq/aval/internal/backend/etcd"
	etcdtrial "github.com/avalhq/aval/internal/backend/etcd/trial"
	"github.com/avalhq/aval/internal/backend/postgres"
	pgtrial "github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/custody/key/remote"
)

var database = pgtrial.Server{Given: os.Getenv(pgtrial.Variable)}

func TestMain(m *testing.M) { database.Main(m) }

// over makes a site whose registry is opened anew by each process, and closed after it.
func over(t testing.TB, open func(t testing.TB) (remote.Registry, func() error)) *site {
	var end func() error
	last := func(t testing.TB) {
		if end != nil {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
		end = nil
	}
	s := newSite(t, false, func(t testing.TB) (r remote.Registry) {
		last(t)
		r, end = open(t)
		return r
	})
	t.Cleanup(func() {
		s.stop(t)
		last(t)
	})
	return s
}

func TestKeysOnPostgres(t *testing.T) {
	suites(t, func(t testing.TB) *site {
		at := database.Fresh(t)
		return over(t, func(t testing.TB) (remote.Registry, func() error) {
			db, err := postgres.Open(t.Context(), at.URL, postgres.Options{Name: "key-manager", Pool: 8})
			if err != nil {
				t.Fatal(err)
			}
			return postgres.NewKeys(db), db.Close
		})
	})
}

func TestKeysOnEtcd(t *testing.T) {
	suites(t, func(t testing.TB) *site {
		endpoint := etcdtrial.Endpoint(t, os.Getenv(etcdtrial.Variable))
		options := etcd.Options{Endpoints: []string{endpoint}, Prefix: etcdtrial.Prefix(t, endpoint), Name: "key-manager"}
		return over(t, func(t testing.TB) (remote.Registry, func() error) {
			k, err := etcd.Open(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			return k, k.Close
		})
	})
}

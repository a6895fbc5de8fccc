//go:build cluster

package etcd_test

import (
	"os"
	"testing"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/backend/etcd/trial"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/fault"
)

// storage is the registry of one test. Each open is the next process: of the one before, etcd has found out that it ended.
type storage struct {
	options etcd.Options
	last    *etcd.Keys
}

func newStorage(t testing.TB) *storage {
	endpoint := trial.Endpoint(t, os.Getenv(trial.Variable))
	s := &storage{options: etcd.Options{Endpoints: []string{endpoint}, Prefix: trial.Prefix(t, endpoint), Name: "test", Faults: fault.New()}}
	t.Cleanup(func() { s.end(t) })
	return s
}

func (s *storage) end(t testing.TB) {
	t.Helper()
	if s.last != nil {
		if err := s.last.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.last = nil
}

func (s *storage) open(t testing.TB) *etcd.Keys {
	t.Helper()
	s.end(t)
	s.last = s.beside(t)
	return s.last
}

// beside opens the registry as one more process, which the caller closes.
func (s *storage) beside(t testing.TB) *etcd.Keys {
	t.Helper()
	k, err := etcd.Open(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeys(t *testing.T) {
	keytest.Run(t, func(t testing.TB) keytest.Harness {
		s := newStorage(t)
		return keytest.Harness{Faults: s.options.Faults, Open: func(t testing.TB) key.Registry { return s.open(t) }}
	})
}

func TestTrust(t *testing.T) {
	keytest.RunTrust(t, func(t testing.TB) keytest.TrustHarness {
		s := newStorage(t)
		return keytest.TrustHarness{Faults: s.options.Faults, Open: func(t testing.TB) (key.Registry, key.Trust) {
			k := s.open(t)
			return k, k
		}}
	})
}

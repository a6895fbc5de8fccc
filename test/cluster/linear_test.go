//go:build cluster

package cluster

import (
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/etcd"
	etcdtrial "github.com/avalhq/aval/internal/backend/etcd/trial"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/test/e2e/stage"
)

// detour gives the address of a server by a way of one's own.
func detour(t *testing.T, address string) (way *stage.Proxy, by string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	way = stage.NewProxy(t, u.Host)
	u.Host = way.Address
	return way, u.String()
}

// inEach runs a check once for each cut, in parallel; in the short run for the two after which nobody knows what was carried out.
func inEach(t *testing.T, check func(t *testing.T, how stage.Cut)) {
	t.Parallel()
	tried := cuts
	if !*every {
		tried = []stage.Cut{stage.Silent, stage.WayBack}
	}
	for _, how := range tried {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			t.Parallel()
			check(t, how)
		})
	}
}

// records opens two processes' shares of one database, each by a way of its own.
func records(t *testing.T, faults *fault.Points) (shares []*postgres.DB, ways []*stage.Proxy) {
	t.Helper()
	server := &trial.Server{Given: os.Getenv(trial.Variable)}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	at := server.Fresh(t)
	for range 2 {
		way, by := detour(t, at.URL)
		db, err := postgres.Open(t.Context(), by, postgres.Options{Name: "test", Faults: faults, Pool: 6})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() }) // it may be cut off
		shares, ways = append(shares, db), append(ways, way)
	}
	return shares, ways
}

// TestI4SwapsThroughCuts: the histories of Guarantee's compare-and-swap stay linearizable while two processes are cut off.
func TestI4SwapsThroughCuts(t *testing.T) {
	inEach(t, func(t *testing.T, how stage.Cut) {
		shares, ways := records(t, nil)
		guaranteetest.RunLinear(t, []guarantee.Store{postgres.NewGuarantee(shares[0]), postgres.NewGuarantee(shares[1])}, each(t, how, ways)...)
	})
}

// TestI8LeasesThroughCuts: the same for leases on keys, in PostgreSQL.
func TestI8LeasesThroughCuts(t *testing.T) {
	inEach(t, func(t *testing.T, how stage.Cut) {
		faults := fault.New()
		shares, ways := records(t, faults)
		keytest.RunLinear(t, []key.Registry{postgres.NewKeys(shares[0]), postgres.NewKeys(shares[1])}, faults, each(t, how, ways)...)
	})
}

// TestI8EtcdLeasesThroughCuts: the same for leases on keys, in etcd.
func TestI8EtcdLeasesThroughCuts(t *testing.T) {
	inEach(t, func(t *testing.T, how stage.Cut) {
		endpoint := etcdtrial.Endpoint(t, os.Getenv(etcdtrial.Variable))
		prefix := etcdtrial.Prefix(t, endpoint)
		faults := fault.New()
		var ways []*stage.Proxy
		var registries []key.Registry
		for range 2 {
			way, by := detour(t, endpoint)
			k, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{by}, Prefix: prefix, Name: "test", Session: 2 * time.Second, Faults: faults})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = k.Close() }) // it may be cut off
			ways, registries = append(ways, way), append(registries, k)
		}
		keytest.RunLinear(t, registries, faults, each(t, how, ways)...)
	})
}

// each is one process cut off, then both.
func each(t *testing.T, how stage.Cut, ways []*stage.Proxy) (troubles []func()) {
	for _, these := range [][]*stage.Proxy{ways[:1], ways} {
		troubles = append(troubles, func() {
			time.Sleep(300 * time.Millisecond) // calls that nothing disturbs
			for _, w := range these {
				mend, err := w.Cut(how)
				if err != nil {
					t.Error(err)
					continue
				}
				defer func() {
					if err := mend(); err != nil {
						t.Error(err)
					}
				}()
			}
			time.Sleep(*longest) // the cut
		})
	}
	return append(troubles, func() { time.Sleep(time.Second) }) // calls that nothing disturbs any more
}

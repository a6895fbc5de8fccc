//go:build cluster

package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

const network = "eip155:1337"

// pair is two processes on one registry.
func pair(t *testing.T) (s *storage, one, two *etcd.Keys) {
	s = newStorage(t)
	one, two = s.open(t), s.beside(t)
	t.Cleanup(func() { ended(t, two) })
	return s, one, two
}

func ended(t *testing.T, k *etcd.Keys) {
	t.Helper()
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func addKeys(t testing.TB, k *etcd.Keys, n int) (ids []string) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("key_%03d", i)
		if err := k.Add(t.Context(), key.Key{ID: id, Chain: network, Address: "0x" + id, Pool: "hot"}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// usedKeys are keys of which the chain shows that seven nonces are spent.
func usedKeys(t testing.TB, k *etcd.Keys, n int) []string {
	t.Helper()
	ids := addKeys(t, k, n)
	for _, id := range ids {
		if err := k.Reconcile(t.Context(), id, 7); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func anyKey(k *etcd.Keys) key.Request {
	return key.Request{Holder: k.Process() + "/sign", Chain: network, Pool: "hot", TTL: time.Hour}
}

func named(k *etcd.Keys, id string) key.Request {
	return key.Request{Holder: k.Process() + "/sign", Key: id, TTL: time.Hour}
}

func leased(t testing.TB, k *etcd.Keys, r key.Request) key.Lease {
	t.Helper()
	l, err := k.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestI10KeysOfTheDeadAreSetAside: a key is not taken from a living process, and is quarantined once its holder is gone, when
// its lease would still last for long; who waits for it is told at once. What the dead one did not release it cannot release.
func TestI10KeysOfTheDeadAreSetAside(t *testing.T) {
	s, one, two := pair(t)
	id := addKeys(t, one, 1)[0]
	lease := leased(t, one, named(one, id))
	if aside, err := two.Quarantine(t.Context(), key.OfProcess(two.Process())); err != nil || len(aside) != 0 {
		t.Fatalf("a start beside a living process set aside %v, %v", aside, err)
	}
	if _, err := two.Lease(within(t, 100*time.Millisecond), named(two, id)); !errors.Is(err, key.ErrBusy) {
		t.Fatalf("the key of a living process: %v, want key-busy", err)
	}
	waiting := make(chan error)
	go func() {
		_, err := two.Lease(within(t, time.Minute), named(two, id))
		waiting <- err
	}()
	s.end(t)
	if err := <-waiting; !errors.Is(err, key.ErrQuarantined) {
		t.Fatalf("the key of a dead process: %v, want key-quarantined", err)
	}
	if got, err := two.Get(t.Context(), id); err != nil || got.Holder != lease.Holder || got.Reason == "" {
		t.Errorf("set aside as %+v, %v; want the holder and a reason on record", got, err)
	}
	if err := two.Release(t.Context(), lease); !errors.Is(err, key.ErrStale) {
		t.Errorf("the late release: %v, want lease-stale", err)
	}
}

// TestI10ALateLeaseOfAnotherProcessIsSetAside: the process lives, and its worker has held the key for longer than it may. The
// other process measures that by its own clock.
func TestI10ALateLeaseOfAnotherProcessIsSetAside(t *testing.T) {
	_, one, two := pair(t)
	id := addKeys(t, one, 1)[0]
	short := named(one, id)
	short.TTL = 200 * time.Millisecond
	lease := leased(t, one, short)
	if _, err := two.Lease(within(t, time.Minute), named(two, id)); !errors.Is(err, key.ErrQuarantined) {
		t.Fatalf("the key of a late worker: %v, want key-quarantined", err)
	}
	if err := one.Release(t.Context(), lease); !errors.Is(err, key.ErrStale) {
		t.Errorf("the late release: %v, want lease-stale", err)
	}
}

// TestI10AStartMeetsLateLeasesOfOthers: a start sets aside the key of a late worker of a process that lives, once this process
// has seen the lease for as long as it lasts.
func TestI10AStartMeetsLateLeasesOfOthers(t *testing.T) {
	_, one, two := pair(t)
	id := addKeys(t, one, 1)[0]
	late := named(one, id)
	late.TTL = 100 * time.Millisecond
	leased(t, one, late)
	seen := time.Now()
	for ctx := within(t, time.Minute); ctx.Err() == nil; {
		aside, err := two.Quarantine(ctx, key.OfProcess(two.Process()))
		if err != nil {
			t.Fatal(err)
		}
		if len(aside) == 1 {
			if passed := time.Since(seen); passed < late.TTL {
				t.Errorf("it was set aside after %v", passed)
			}
			return
		}
	}
	t.Error("it was not set aside")
}

// TestALeaseIsGrantedToALivingSession: etcd has ended the session, and the process has not heard of it yet. What it leases now
// it holds as a new instance: another process, which knows that the former one is gone, finds the key busy.
func TestALeaseIsGrantedToALivingSession(t *testing.T) {
	s, one, two := pair(t)
	id := addKeys(t, one, 1)[0]
	client, err := clientv3.New(clientv3.Config{Endpoints: s.options.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	instances, err := client.Get(t.Context(), s.options.Prefix+"instances/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil || len(instances.Kvs) != 2 {
		t.Fatalf("%d instances, %v; want two", instances.Count, err)
	}
	if _, err := client.Revoke(t.Context(), clientv3.LeaseID(instances.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	lease := leased(t, one, named(one, id))
	if _, err := two.Lease(within(t, 300*time.Millisecond), named(two, id)); !errors.Is(err, key.ErrBusy) {
		t.Errorf("the key of a living process: %v, want key-busy", err)
	}
	if err := one.Release(t.Context(), lease); err != nil {
		t.Error(err)
	}
}

// TestI11OneOrderForAllProcesses: what one process has used another does not take before the rest.
func TestI11OneOrderForAllProcesses(t *testing.T) {
	_, one, two := pair(t)
	ids := addKeys(t, one, 4)
	for round := range 3 {
		for i, id := range ids {
			process := []*etcd.Keys{one, two}[(i+round)%2]
			if _, err := process.List(t.Context()); err != nil { // has seen what the other one did
				t.Fatal(err)
			}
			l := leased(t, process, anyKey(process))
			if l.Key.ID != id || l.Fence != uint64(round+1) {
				t.Fatalf("round %d: got %s under fence %d, want %s under %d", round, l.Key.ID, l.Fence, id, round+1)
			}
			if err := process.Release(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestEveryProcessGetsItsTurn: the workers of two processes want one key without a pause. None of the processes starves: when one
// has had all of its leases the other one has had a tenth of its own, at least. Which of them hears first that the key is free is
// left to the machine.
func TestEveryProcessGetsItsTurn(t *testing.T) {
	_, one, two := pair(t)
	addKeys(t, one, 1)
	const each = 200
	var workers sync.WaitGroup
	var mu sync.Mutex
	var order []int
	for i, process := range []*etcd.Keys{one, two} {
		for range 4 {
			workers.Go(func() {
				for range each / 4 {
					l, err := process.Lease(within(t, time.Minute), anyKey(process))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					order = append(order, i)
					if int(l.Fence) != len(order) {
						t.Errorf("lease %d has the fence %d", len(order), l.Fence)
					}
					mu.Unlock()
					if err := process.Release(t.Context(), l); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	workers.Wait()
	first := len(order)
	for done, i := [2]int{}, 0; i < len(order); i++ {
		if done[order[i]]++; done[order[i]] == each {
			first = i + 1
			break
		}
	}
	if first < each+each/10 {
		t.Errorf("one process had all of its %d leases when the other one had %d", each, first-each)
	}
}

// TestLinearizable: two processes at once, with writes that fail.
func TestLinearizable(t *testing.T) {
	for range 5 {
		s := newStorage(t)
		s.options.Faults = fault.New()
		one, two := s.open(t), s.beside(t)
		keytest.RunLinear(t, []key.Registry{one, two}, s.options.Faults)
		ended(t, two)
	}
}

// TestNoServer: what is missing is said in one sentence, with what to do.
func TestNoServer(t *testing.T) {
	_, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{"http://127.0.0.1:1"}})
	if problem.From(err).Code != "etcd-unreachable" || problem.KindOf(err) != problem.Invalid || !strings.Contains(err.Error(), "start it") {
		t.Errorf("without a server: %v; want what is missing, and what to do", err)
	}
}

// TestACertificateThatIsNotBelieved: a server that is there, whose authority this process does not know.
func TestACertificateThatIsNotBelieved(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.EnableHTTP2 = true // as etcd's clients speak it
	server.StartTLS()
	defer server.Close()
	_, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{server.URL}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	if problem.From(err).Code != "etcd-certificate-refused" || problem.KindOf(err) != problem.Invalid || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("with an unknown authority: %v", err)
	}
}

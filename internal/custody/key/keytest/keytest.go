// Package keytest is the conformance suite of key.Registry. A backend runs it with Run; nothing in it can be left out.
//
// The tiers: basic is one caller, and random histories beside a model in memory (I9, I10, I11); transactions is what a lease that has
// ended may not do; concurrency is many callers; faults is each durable write failed, and persisted but reported as failed, and then
// a look at everything after a restart.
package keytest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/typeid"
)

// Harness is a registry under test.
type Harness struct {
	// Open opens the registry on the same storage again, as the next process does; the one opened before has ended.
	Open func(t testing.TB) key.Registry
	// Faults are those that the registry was opened with.
	Faults *fault.Points
}

// Run runs the whole suite; each test gets storage of its own.
func Run(t *testing.T, fresh func(t testing.TB) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/AddGetList":                            addGetList,
			"basic/KnownKeyIsRefused":                     addTwice,
			"basic/UnknownKey":                            unknownKey,
			"basic/SenselessRequests":                     senseless,
			"basic/LeaseAndRelease":                       leaseAndRelease,
			"basic/I11LeastRecentlyUsedFirst":             leastRecentlyUsed,
			"basic/PoolsAreApart":                         poolsApart,
			"transactions/I9StaleReleaseFreesNothing":     staleRelease,
			"basic/I10ExpiredLeaseIsQuarantined":          expired,
			"transactions/LateReleaseBeforeAnyoneNoticed": lateRelease,
			"basic/PoolGoesAroundTheQuarantined":          poolAround,
			"basic/I10DeadHoldersAreQuarantined":          deadHolders,
			"basic/I10LeaseDoesNotOutliveItsProcess":      restarted,
			"basic/ReconcileNewKey":                       reconcileNew,
			"transactions/ForeignUseStaysQuarantined":     foreignUse,
			"concurrency/OneHolderAtATime":                oneHolder,
			"concurrency/WaiterIsWoken":                   waiterWoken,
			"concurrency/WaiterGivesUp":                   waiterGivesUp,
			"concurrency/WhoIsToldBusyGetsNothing":        busyGetsNothing,
			"concurrency/NamedWaiterAndPool":              specificAndPool,
			"faults/EachWrite":                            eachWrite,
			"faults/UnconfirmedLease":                     unconfirmed,
			"basic/RandomHistories":                       model,
		},
	}.Run(t, func(t *testing.T) Harness { return fresh(t) })
}

const (
	network = "eip155:1337"
	holder  = "worker-1/sign"
	long    = time.Hour
)

// add registers a key in a pool, "" for none.
func add(t testing.TB, r key.Registry, pool string) key.Key {
	t.Helper()
	id := typeid.New("key")
	k := key.Key{ID: id, Chain: network, Address: "0x" + id, Pool: pool, Status: key.Free}
	if err := r.Add(t.Context(), k); err != nil {
		t.Fatalf("add %s: %v", id, err)
	}
	return k
}

func lease(t testing.TB, r key.Registry, want key.Request) key.Lease {
	t.Helper()
	l, err := r.Lease(t.Context(), want)
	if err != nil {
		t.Fatalf("lease %+v: %v", want, err)
	}
	return l
}

func one(id string) key.Request { return key.Request{Holder: holder, Key: id, TTL: long} }

func anyOf(pool string) key.Request {
	return key.Request{Holder: holder, Chain: network, Pool: pool, TTL: long}
}

func release(t testing.TB, r key.Registry, l key.Lease) {
	t.Helper()
	if err := r.Release(t.Context(), l); err != nil {
		t.Fatalf("release %s: %v", l.Key.ID, err)
	}
}

func want(t testing.TB, err, refusal error) {
	t.Helper()
	if !errors.Is(err, refusal) {
		t.Fatalf("got %v; want %v", err, refusal)
	}
}

// get reads a key without the times, which the caller cannot know.
func get(t testing.TB, r key.Registry, id string) key.Key {
	t.Helper()
	k, err := r.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get %s: %v", id, err)
	}
	k.LastUsed = time.Time{}
	return k
}

func equal(t testing.TB, got, wanted key.Key) {
	t.Helper()
	if got != wanted {
		t.Fatalf("got  %+v\nwant %+v", got, wanted)
	}
}

func addGetList(t *testing.T, h Harness) {
	r := h.Open(t)
	if keys, err := r.List(t.Context()); err != nil || len(keys) != 0 {
		t.Fatalf("a new registry lists %v, %v", keys, err)
	}
	a, b := add(t, r, ""), add(t, r, "hot")
	r = h.Open(t)
	equal(t, get(t, r, a.ID), a)
	keys, err := r.List(t.Context())
	if err != nil || len(keys) != 2 || keys[0] != a || keys[1] != b {
		t.Fatalf("listed %+v, %v; want both keys by id", keys, err)
	}
}

func addTwice(t *testing.T, h Harness) {
	r := h.Open(t)
	a := add(t, r, "")
	for _, again := range []key.Key{a, {ID: a.ID, Chain: network, Address: "0xother"}, {ID: "key_other", Chain: a.Chain, Address: a.Address}} {
		want(t, r.Add(t.Context(), again), key.ErrExists)
	}
	if err := r.Add(t.Context(), key.Key{ID: "key_elsewhere", Chain: "eip155:1", Address: a.Address}); err != nil {
		t.Fatalf("the same address on another chain: %v", err)
	}
	equal(t, get(t, r, a.ID), a)
}

func unknownKey(t *testing.T, h Harness) {
	r := h.Open(t)
	_, err := r.Get(t.Context(), "key_none")
	want(t, err, key.ErrUnknown)
	_, err = r.Lease(t.Context(), one("key_none"))
	want(t, err, key.ErrUnknown)
	_, err = r.Lease(t.Context(), anyOf("none"))
	want(t, err, key.ErrUnknown)
	want(t, r.Reconcile(t.Context(), "key_none", 0), key.ErrUnknown)
	want(t, r.Release(t.Context(), key.Lease{Key: key.Key{ID: "key_none"}, Fence: 1, Holder: holder}), key.ErrStale)
}

func senseless(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "hot")
	for name, spoil := range map[string]func(*key.Request){
		"no holder": func(q *key.Request) { q.Holder = "" }, "no time": func(q *key.Request) { q.TTL = 0 },
		"neither": func(q *key.Request) { q.Key = "" }, "both": func(q *key.Request) { q.Pool = "hot" },
		"pool of no chain": func(q *key.Request) { q.Key, q.Pool = "", "hot" },
	} {
		q := one(k.ID)
		spoil(&q)
		if _, err := r.Lease(t.Context(), q); !errors.Is(err, key.ErrInvalid) {
			t.Errorf("%s: %v; want key-request-invalid", name, err)
		}
	}
	for _, bad := range []key.Key{{Chain: network, Address: "0x1"}, {ID: "key_1", Address: "0x1"}, {ID: "key_1", Chain: network}} {
		want(t, r.Add(t.Context(), bad), key.ErrInvalid)
	}
	want(t, r.Reconcile(t.Context(), k.ID, 1<<63), key.ErrInvalid)
	equal(t, get(t, r, k.ID), k)
}

func leaseAndRelease(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "")
	for fence := uint64(1); fence <= 3; fence++ {
		l := lease(t, r, one(k.ID))
		if l.Fence != fence || l.Key.Fence != fence || l.Holder != holder || time.Until(l.Expires) <= 0 || l.Key.Address != k.Address {
			t.Fatalf("lease %d is %+v", fence, l)
		}
		k.Status, k.Holder, k.Fence = key.Leased, holder, fence
		equal(t, get(t, r, k.ID), k)
		release(t, r, l)
		k.Status, k.Holder = key.Free, ""
		equal(t, get(t, r, k.ID), k)
	}
}

func leastRecentlyUsed(t *testing.T, h Harness) {
	r := h.Open(t)
	a, b, c := add(t, r, "hot"), add(t, r, "hot"), add(t, r, "hot")
	take := func(wanted key.Key) {
		t.Helper()
		l := lease(t, r, anyOf("hot"))
		if l.Key.ID != wanted.ID {
			t.Fatalf("got %s; want %s of %s, %s, %s", l.Key.ID, wanted.ID, a.ID, b.ID, c.ID)
		}
		release(t, r, l)
	}
	take(a) // never used: by id
	take(b)
	take(c)
	take(a)
	release(t, r, lease(t, r, one(b.ID)))
	take(c) // by name or by pool, use is use
	r = h.Open(t)
	take(a) // and is remembered
	take(b)
	take(c)
}

func poolsApart(t *testing.T, h Harness) {
	r := h.Open(t)
	add(t, r, "") // bound to a wallet: in no pool
	hot, cold := add(t, r, "hot"), add(t, r, "cold")
	for pool, k := range map[string]key.Key{"hot": hot, "cold": cold} {
		if l := lease(t, r, anyOf(pool)); l.Key.ID != k.ID {
			t.Errorf("the pool %s gave %s", pool, l.Key.ID)
		}
	}
	other := anyOf("hot")
	other.Chain = "eip155:1"
	_, err := r.Lease(t.Context(), other)
	want(t, err, key.ErrUnknown)
}

// name makes the names of holders of one process.
func name(worker int) string { return fmt.Sprintf("worker-1/%d", worker) }

package keytest

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/typeid"
)

// machine is the model: what each key must be after the history so far. All histories of a run share the storage; each has
// keys and a pool of its own.
type machine struct {
	h      Harness
	tb     testing.TB
	r      key.Registry
	pool   string
	keys   map[string]*modelKey
	leases []key.Lease // all ever given, in order
	uses   int
}

type modelKey struct {
	key.Key
	seen   uint64
	used   int  // order of the last lease, 0 never
	orphan bool // leased by a process that has ended
}

func model(t *testing.T, h Harness) {
	r := h.Open(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{h: h, tb: t, r: r, pool: typeid.New("pool"), keys: map[string]*modelKey{}}
		defer func() { r = m.r }() // also after a history that rapid gives up in its middle
		m.add(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": m.check, "add": m.add, "lease one": m.leaseOne, "lease any": m.leaseAny, "lease any again": m.leaseAny,
			"release": m.release, "quarantine": m.quarantine, "reconcile": m.reconcile, "restart": m.restart,
		})
	})
}

func (m *machine) add(rt *rapid.T) {
	if len(m.keys) == 5 {
		rt.Skip("enough keys")
	}
	k := add(m.tb, m.r, m.pool)
	m.keys[k.ID] = &modelKey{Key: k}
}

// ids is the keys by id, so that a history can be drawn again.
func (m *machine) ids() []string {
	ids := make([]string, 0, len(m.keys))
	for id := range m.keys {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}

func (m *machine) draw(rt *rapid.T) *modelKey {
	return m.keys[m.ids()[rapid.IntRange(0, len(m.keys)-1).Draw(rt, "key")]]
}

// ask leases without waiting for long: a busy key is refused when the time is over.
func (m *machine) ask(rt *rapid.T, q key.Request, busy bool) (key.Lease, error) {
	ctx := m.tb.Context()
	if busy {
		short, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		defer cancel()
		ctx = short
	}
	q.Holder = rapid.SampledFrom([]string{"p1/a", "p1/b", "p2/a"}).Draw(rt, "holder")
	return m.r.Lease(ctx, q)
}

func (m *machine) leaseOne(rt *rapid.T) {
	k := m.draw(rt)
	l, err := m.ask(rt, one(k.ID), k.Status == key.Leased && !k.orphan)
	switch {
	case k.Status == key.Leased && !k.orphan:
		m.refused(rt, err, key.ErrBusy)
	case k.Status == key.Free:
		m.given(rt, k, l, err)
	default:
		m.refused(rt, err, key.ErrQuarantined)
		k.setAside()
	}
}

func (m *machine) refused(rt *rapid.T, err, refusal error) {
	if !errors.Is(err, refusal) {
		rt.Fatalf("got %v; want %v", err, refusal)
	}
}

func (m *machine) given(rt *rapid.T, k *modelKey, l key.Lease, err error) {
	if err != nil || l.Key.ID != k.ID || l.Fence != k.Fence+1 {
		rt.Fatalf("got %s with fence %d, %v; want %s with %d", l.Key.ID, l.Fence, err, k.ID, k.Fence+1)
	}
	m.uses++
	k.Status, k.Holder, k.Fence, k.used, k.orphan = key.Leased, l.Holder, l.Fence, m.uses, false
	m.leases = append(m.leases, l)
}

func (k *modelKey) setAside() { k.Status, k.orphan = key.Quarantined, false }

// leaseAny expects the least recently used free key (I11).
func (m *machine) leaseAny(rt *rapid.T) {
	var oldest *modelKey
	busy, orphans := 0, 0
	for _, id := range m.ids() {
		k := m.keys[id]
		switch {
		case k.Status == key.Free && (oldest == nil || k.used < oldest.used):
			oldest = k
		case k.Status == key.Leased && k.orphan:
			orphans++
		case k.Status == key.Leased:
			busy++
		}
	}
	if oldest == nil && busy > 0 && orphans > 0 {
		rt.Skip("whether the orphans are met before the time is over is open")
	}
	l, err := m.ask(rt, key.Request{Chain: network, Pool: m.pool, TTL: long}, oldest == nil && busy > 0)
	switch {
	case oldest != nil:
		m.given(rt, oldest, l, err)
	case busy > 0:
		m.refused(rt, err, key.ErrBusy)
	default:
		m.refused(rt, err, key.ErrQuarantined)
		for _, k := range m.keys {
			k.setAside()
		}
	}
}

// release tries any lease ever given, often a stale one, sometimes under another name.
func (m *machine) release(rt *rapid.T) {
	if len(m.leases) == 0 {
		rt.Skip("no lease yet")
	}
	newest := len(m.leases) - 1
	l := m.leases[rapid.IntRange(max(0, newest-4), newest).Draw(rt, "lease")]
	if rapid.IntRange(0, 9).Draw(rt, "stranger") == 0 {
		l.Holder = "p9/z"
	}
	k := m.keys[l.Key.ID]
	err := m.r.Release(m.tb.Context(), l)
	if k.Status != key.Leased || k.Fence != l.Fence || k.Holder != l.Holder {
		m.refused(rt, err, key.ErrStale)
		return
	}
	m.refused(rt, err, nil)
	k.Status, k.Holder, k.orphan = key.Free, "", false
}

func (m *machine) quarantine(rt *rapid.T) {
	living := rapid.SampledFrom([]string{"p1", "p2"}).Draw(rt, "living")
	aside, err := m.r.Quarantine(m.tb.Context(), key.OfProcess(living))
	if err != nil {
		rt.Fatal(err)
	}
	got := map[string]bool{}
	for _, k := range aside {
		got[k.ID] = true
	}
	for id, k := range m.keys {
		failed := k.Status == key.Leased && (k.orphan || !strings.HasPrefix(k.Holder, living+"/"))
		if got[id] != failed {
			rt.Fatalf("%+v set aside: %v; want %v", k.Key, got[id], failed)
		}
		if failed {
			k.setAside()
		}
	}
}

func (m *machine) reconcile(rt *rapid.T) {
	k := m.draw(rt)
	nonce := uint64(rapid.IntRange(0, 3).Draw(rt, "nonce"))
	err := m.r.Reconcile(m.tb.Context(), k.ID, nonce)
	k.seen = max(k.seen, nonce)
	if k.Known && k.seen > k.Nonce {
		m.refused(rt, err, key.ErrForeignUse)
		k.setAside()
		return
	}
	m.refused(rt, err, nil)
	k.Nonce, k.Known = max(k.Nonce, k.seen), true
	if k.Status == key.Quarantined {
		k.Status, k.Holder = key.Free, ""
	}
}

// restart ends the process: every lease is an orphan. Rare, it is slow.
func (m *machine) restart(rt *rapid.T) {
	if rapid.IntRange(0, 7).Draw(rt, "restart") != 0 {
		rt.Skip("not now")
	}
	m.r = m.h.Open(m.tb)
	for _, k := range m.keys {
		k.orphan = k.Status == key.Leased
	}
}

// check compares every key with the model after each step.
func (m *machine) check(rt *rapid.T) {
	keys, err := m.r.List(m.tb.Context())
	if err != nil {
		rt.Fatal(err)
	}
	found := 0
	for _, got := range keys {
		k := m.keys[got.ID]
		if k == nil {
			continue
		}
		found++
		if (got.Reason != "") != (got.Status == key.Quarantined) || got.LastUsed.IsZero() != (k.used == 0) {
			rt.Fatalf("%+v: a reason belongs to a quarantine, a time to a use", got)
		}
		got.Reason, got.LastUsed = "", time.Time{}
		if fmt.Sprint(got) != fmt.Sprint(k.Key) {
			rt.Fatalf("got  %+v\nwant %+v", got, k.Key)
		}
	}
	if found != len(m.keys) {
		rt.Fatalf("%d keys are listed of %d", found, len(m.keys))
	}
}

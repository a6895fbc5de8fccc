package keytest

import (
	"context"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
)

func staleRelease(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "")
	old := lease(t, r, one(k.ID))
	release(t, r, old)
	want(t, r.Release(t.Context(), old), key.ErrStale)
	present := lease(t, r, one(k.ID))
	stranger := present
	stranger.Holder = "worker-2/sign"
	for _, l := range []key.Lease{old, stranger} {
		want(t, r.Release(t.Context(), l), key.ErrStale)
		if got := get(t, r, k.ID); got.Status != key.Leased || got.Fence != present.Fence || got.Holder != holder {
			t.Fatalf("a stale release left %+v", got)
		}
	}
	release(t, r, present)
}

// expire leases a key, lets its time pass, and has somebody meet it.
func expire(t testing.TB, r key.Registry, id string) key.Lease {
	t.Helper()
	short := one(id)
	short.TTL = time.Millisecond
	l := lease(t, r, short)
	_, err := r.Lease(t.Context(), one(id)) // waits for as long as the lease lasts
	want(t, err, key.ErrQuarantined)
	return l
}

func expired(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "")
	late := expire(t, r, k.ID)
	aside := get(t, r, k.ID)
	if aside.Status != key.Quarantined || aside.Holder != holder || aside.Reason == "" {
		t.Fatalf("the key of a late worker is %+v; want it quarantined with the worker on record", aside)
	}
	want(t, r.Release(t.Context(), late), key.ErrStale)
	equal(t, get(t, r, k.ID), aside)
	_, err := r.Lease(t.Context(), one(k.ID))
	want(t, err, key.ErrQuarantined)
	r = h.Open(t)
	equal(t, get(t, r, k.ID), aside)
	reconcile(t, r, k.ID, 0)
	if got := get(t, r, k.ID); got.Status != key.Free || got.Holder != "" || got.Reason != "" || !got.Known {
		t.Fatalf("reconciled: %+v", got)
	}
	if l := lease(t, r, one(k.ID)); l.Fence <= late.Fence {
		t.Fatalf("the fence %d does not overtake %d", l.Fence, late.Fence)
	}
}

func reconcile(t testing.TB, r key.Registry, id string, nonce uint64) {
	t.Helper()
	if err := r.Reconcile(t.Context(), id, nonce); err != nil {
		t.Fatalf("reconcile %s with %d: %v", id, nonce, err)
	}
}

func lateRelease(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "")
	short := one(k.ID)
	short.TTL = time.Nanosecond
	release(t, r, lease(t, r, short))
	lease(t, r, one(k.ID))
}

func poolAround(t *testing.T, h Harness) {
	r := h.Open(t)
	a, b := add(t, r, "hot"), add(t, r, "hot")
	expire(t, r, a.ID)
	for range 3 {
		l := lease(t, r, anyOf("hot"))
		if l.Key.ID != b.ID {
			t.Fatalf("leased %s, which is quarantined", l.Key.ID)
		}
		release(t, r, l)
	}
	expire(t, r, b.ID)
	_, err := r.Lease(t.Context(), anyOf("hot"))
	want(t, err, key.ErrQuarantined)
	reconcile(t, r, a.ID, 0)
	if l := lease(t, r, anyOf("hot")); l.Key.ID != a.ID {
		t.Fatalf("leased %s; want %s, the reconciled one", l.Key.ID, a.ID)
	}
}

func deadHolders(t *testing.T, h Harness) {
	r := h.Open(t)
	free, mine, dead, late := add(t, r, ""), add(t, r, ""), add(t, r, ""), add(t, r, "")
	lease(t, r, one(mine.ID))
	other := one(dead.ID)
	other.Holder = "worker-10/sign" // a longer name is another process
	lease(t, r, other)
	short := one(late.ID)
	short.TTL = time.Nanosecond
	lease(t, r, short)
	aside, err := r.Quarantine(t.Context(), key.OfProcess("worker-1"))
	if err != nil || len(aside) != 2 {
		t.Fatalf("set aside %+v, %v; want the dead one's and the late one's", aside, err)
	}
	for _, k := range aside {
		if k.ID != dead.ID && k.ID != late.ID || k.Status != key.Quarantined || k.Reason == "" || k.Holder == "" {
			t.Errorf("set aside %+v", k)
		}
	}
	for id, status := range map[string]key.Status{free.ID: key.Free, mine.ID: key.Leased, dead.ID: key.Quarantined, late.ID: key.Quarantined} {
		if got := get(t, r, id); got.Status != status {
			t.Errorf("%s is %s; want %s", id, got.Status, status)
		}
	}
	if again, err := r.Quarantine(t.Context(), key.OfProcess("worker-1")); err != nil || len(again) != 0 {
		t.Errorf("set aside %v, %v once more", again, err)
	}
}

func restarted(t *testing.T, h Harness) {
	r := h.Open(t)
	a, b := add(t, r, ""), add(t, r, "")
	old := lease(t, r, one(a.ID))
	lease(t, r, one(b.ID))
	r = h.Open(t)
	_, err := r.Lease(t.Context(), one(a.ID)) // not waited for: its holder cannot come back
	want(t, err, key.ErrQuarantined)
	want(t, r.Release(t.Context(), old), key.ErrStale)
	if aside, err := r.Quarantine(t.Context(), key.OfProcess("worker-1")); err != nil || len(aside) != 1 || aside[0].ID != b.ID {
		t.Fatalf("set aside %+v, %v; want %s, whatever its holder is called", aside, err, b.ID)
	}
}

func reconcileNew(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "")
	l := lease(t, r, one(k.ID))
	if l.Key.Known {
		t.Fatal("the nonce of a new key is known")
	}
	reconcile(t, r, k.ID, 7)
	got := get(t, r, k.ID)
	if got.Nonce != 7 || !got.Known || got.Status != key.Leased || got.Fence != l.Fence {
		t.Fatalf("reconciled under its lease: %+v", got)
	}
	release(t, r, l)
	reconcile(t, r, k.ID, 3) // a node that lags behind
	if got := get(t, r, k.ID); got.Nonce != 7 {
		t.Fatalf("a nonce went back: %+v", got)
	}
}

func foreignUse(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "hot")
	reconcile(t, r, k.ID, 7)
	for _, nonce := range []uint64{8, 7, 0} { // a node that lags behind does not clear it
		want(t, r.Reconcile(t.Context(), k.ID, nonce), key.ErrForeignUse)
		if got := get(t, r, k.ID); got.Status != key.Quarantined || got.Nonce != 7 || got.Reason == "" {
			t.Fatalf("after foreign use: %+v", got)
		}
	}
	_, err := r.Lease(t.Context(), anyOf("hot"))
	want(t, err, key.ErrQuarantined)

	held := add(t, r, "")
	l := lease(t, r, one(held.ID))
	reconcile(t, r, held.ID, 1)
	want(t, r.Reconcile(t.Context(), held.ID, 2), key.ErrForeignUse)
	want(t, r.Release(t.Context(), l), key.ErrStale)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	_, err = r.Lease(ctx, one(held.ID))
	want(t, err, key.ErrQuarantined)
}

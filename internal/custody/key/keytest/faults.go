package keytest

import (
	"errors"
	"testing"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
)

// write is one durable write: how to come to it, the write, and whether a key shows that it happened.
type write struct {
	point   string
	prepare func(t testing.TB, r key.Registry, id string) key.Lease
	run     func(t testing.TB, r key.Registry, id string, l key.Lease) error
	done    func(k key.Key) bool
}

func writes() []write {
	leased := func(t testing.TB, r key.Registry, id string) key.Lease { return lease(t, r, one(id)) }
	return []write{
		{"keys.lease", nil, func(t testing.TB, r key.Registry, id string, _ key.Lease) error {
			_, err := r.Lease(t.Context(), one(id))
			return err
		}, func(k key.Key) bool { return k.Status == key.Leased }},
		{"keys.release", leased, func(t testing.TB, r key.Registry, _ string, l key.Lease) error {
			return r.Release(t.Context(), l)
		}, func(k key.Key) bool { return k.Status == key.Free }},
		{"keys.quarantine", leased, func(t testing.TB, r key.Registry, _ string, _ key.Lease) error {
			_, err := r.Quarantine(t.Context(), key.OfProcess("another"))
			return err
		}, func(k key.Key) bool { return k.Status == key.Quarantined }},
		{"keys.reconcile", nil, func(t testing.TB, r key.Registry, id string, _ key.Lease) error {
			return r.Reconcile(t.Context(), id, 9)
		}, func(k key.Key) bool { return k.Known && k.Nonce == 9 }},
	}
}

// eachWrite fails each write, before and after it is stored, with and without a restart. Afterwards the key shows the write
// or does not, as it should, and is usable, at the worst after reconciling it.
func eachWrite(t *testing.T, h Harness) {
	for _, w := range writes() {
		for _, side := range []string{".before", ".after"} {
			for _, restart := range []bool{false, true} {
				strike(t, h, w, side, restart)
			}
		}
	}
	addFails(t, h)
}

func strike(t *testing.T, h Harness, w write, side string, restart bool) {
	t.Helper()
	r := h.Open(t)
	k := add(t, r, "")
	var l key.Lease
	if w.prepare != nil {
		l = w.prepare(t, r, k.ID)
	}
	before := get(t, r, k.ID)
	h.Faults.Arm(w.point+side, fault.Fail, 1)
	if err := w.run(t, r, k.ID, l); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("%s%s: got %v; want the injected fault", w.point, side, err)
	}
	if restart {
		r = h.Open(t)
	}
	got := get(t, r, k.ID)
	if side == ".before" && got != before {
		t.Fatalf("%s failed before it was stored, and left\n%+v, was\n%+v", w.point, got, before)
	}
	if side == ".after" && !w.done(got) {
		t.Fatalf("%s was stored and left %+v", w.point, got)
	}
	if _, err := r.Quarantine(t.Context(), key.OfProcess("another")); err != nil {
		t.Fatal(err)
	}
	reconcile(t, r, k.ID, 0)
	if next := lease(t, r, one(k.ID)); next.Fence <= got.Fence && got.Fence > 0 {
		t.Fatalf("after %s%s the fence went from %d to %d", w.point, side, got.Fence, next.Fence)
	}
}

// unconfirmed: a lease whose commit was reported as failed has no holder, and is not waited for until it expires.
func unconfirmed(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "")
	h.Faults.Arm("keys.lease.after", fault.Fail, 1)
	_, err := r.Lease(t.Context(), one(k.ID))
	want(t, err, fault.ErrInjected)
	_, err = r.Lease(t.Context(), one(k.ID))
	want(t, err, key.ErrQuarantined)
	reconcile(t, r, k.ID, 0)
	release(t, r, lease(t, r, one(k.ID)))
}

func addFails(t *testing.T, h Harness) {
	r := h.Open(t)
	for _, side := range []string{".before", ".after"} {
		k := key.Key{ID: "key_fails" + side[1:], Chain: network, Address: "0xfails" + side, Status: key.Free}
		h.Faults.Arm("keys.add"+side, fault.Fail, 1)
		if err := r.Add(t.Context(), k); !errors.Is(err, fault.ErrInjected) {
			t.Fatalf("add: %v; want the injected fault", err)
		}
		err := r.Add(t.Context(), k)
		if side == ".before" {
			want(t, err, nil)
		} else {
			want(t, err, key.ErrExists)
		}
		equal(t, get(t, h.Open(t), k.ID), k)
		r = h.Open(t)
	}
}

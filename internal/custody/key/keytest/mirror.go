package keytest

import (
	"testing"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/typeid"
)

// MirrorHarness is a table of decisions under test, with no registry: what it sees of one is what the test says.
type MirrorHarness struct {
	// Open opens the table on the same storage again, as the next process does.
	Open func(t testing.TB) key.Mirror
	// Decide decides one more transaction under a lease of which the registry, when it was asked, had said that it is the present
	// one and the nonce known. It gives the nonce.
	Decide func(t testing.TB, l key.Lease) (uint64, error)
	// Faults are those that the table was opened with.
	Faults *fault.Points
}

// RunMirror runs the suite of key.Mirror; each test gets storage of its own.
func RunMirror(t *testing.T, fresh func(t testing.TB) MirrorHarness) {
	conform.Suite[*table]{
		Cases: map[string]func(*testing.T, *table){
			"transactions/A15ALowerFenceIsRefused":        lowerFence,
			"transactions/A15TheSameFenceOfAnotherHolder": sameFence,
			"transactions/I10ASetAsideKeyDecidesNothing":  setAsideDecides,
			"transactions/AFreedKeyNeedsAHigherFence":     freedDecides,
			"basic/NoncesGoOnFromWhatWasDecided":          noncesGoOn,
			"basic/ALateNoteChangesNothing":               lateNote,
			"basic/AKeyStaysTheSameKey":                   sameKey,
			"faults/ANoteIsReportedAsFailed":              noteFails,
			"basic/WhatIsKnownOfAllKeysAndOfSingle":       mirrorKeys,
		},
		Lacks: map[conform.Tier]string{
			conform.Concurrency: "it is written within the transactions of decisions, whose suite has them",
		},
	}.Run(t, func(t *testing.T) *table {
		v := &table{h: fresh(t)}
		v.restart(t)
		v.k = v.key(40)
		return v
	})
}

// table is a table of decisions with one key, whose first 40 nonces were spent before Aval knew of it.
type table struct {
	h MirrorHarness
	m key.Mirror
	k key.Key
}

func (v *table) restart(t testing.TB) { v.m = v.h.Open(t) }

func (v *table) key(nonce uint64) key.Key {
	id := typeid.New("key")
	return key.Key{ID: id, Chain: network, Address: "0x" + id, Pool: "hot", Status: key.Free, Nonce: nonce, Known: true}
}

// under is a lease of the key.
func (v *table) under(fence uint64, holder string) key.Lease {
	l := key.Lease{Key: v.k, Holder: holder, Fence: fence}
	l.Key.Status, l.Key.Holder, l.Key.Fence = key.Leased, holder, fence
	return l
}

func (v *table) decides(t testing.TB, l key.Lease, nonce uint64) {
	t.Helper()
	if got, err := v.h.Decide(t, l); err != nil || got != nonce {
		t.Fatalf("%s with the fence %d decided nonce %d, %v; want %d", l.Holder, l.Fence, got, err, nonce)
	}
}

func (v *table) refuses(t testing.TB, l key.Lease) {
	t.Helper()
	_, err := v.h.Decide(t, l)
	want(t, err, key.ErrStale)
}

// note says that the key is set aside, or free, after so many leases.
func (v *table) note(t testing.TB, fence uint64, reason string) {
	t.Helper()
	k := v.k
	k.Fence, k.Reason = fence, reason
	if reason != "" {
		k.Status, k.Holder = key.Quarantined, holder
	}
	must(t, v.m.Note(t.Context(), k))
}

func (v *table) read(t testing.TB) key.Key {
	t.Helper()
	list, err := v.m.Keys(t.Context(), v.k.ID)
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("the table has %+v", list)
	}
	return list[0]
}

func lowerFence(t *testing.T, v *table) {
	late, present := v.under(6, holder), v.under(7, "worker-2/sign")
	v.decides(t, late, 40)
	v.decides(t, present, 41)
	v.refuses(t, late)
	v.restart(t)
	v.refuses(t, late)
	v.decides(t, present, 42)
}

func sameFence(t *testing.T, v *table) {
	v.decides(t, v.under(6, holder), 40)
	v.refuses(t, v.under(6, "worker-2/sign"))
	v.decides(t, v.under(6, holder), 41)
}

// setAsideDecides: what a stopped worker wakes up with decides nothing once the key was set aside, also before any newer lease.
func setAsideDecides(t *testing.T, v *table) {
	l := v.under(6, holder)
	v.decides(t, l, 40)
	v.note(t, 6, "somebody else uses it")
	v.refuses(t, l)
	if k := v.read(t); k.Status != key.Quarantined || k.Reason != "somebody else uses it" || k.Holder != holder || k.Nonce != 41 {
		t.Fatalf("set aside, it is %+v", k)
	}
	v.decides(t, v.under(7, holder), 41) // the registry has freed it since, or there would be no such lease
	if k := v.read(t); k.Status != key.Leased || k.Reason != "" {
		t.Fatalf("leased anew, it is %+v", k)
	}
	v.note(t, 9, "it was never decided with under this fence")
	v.refuses(t, v.under(9, holder))
}

func freedDecides(t *testing.T, v *table) {
	l := v.under(6, holder)
	v.decides(t, l, 40)
	v.note(t, 6, "its holder is gone")
	v.note(t, 6, "")
	v.refuses(t, l)
	if k := v.read(t); k.Status != key.Free || k.Reason != "" || k.Holder != "" || k.Fence != 6 {
		t.Fatalf("freed, it is %+v", k)
	}
	v.decides(t, v.under(7, holder), 41)
}

func noncesGoOn(t *testing.T, v *table) {
	v.decides(t, v.under(1, holder), 40)
	v.k.Nonce = 0 // the registry does not count
	v.decides(t, v.under(2, holder), 41)
	v.k.Nonce = 50 // an operator has acknowledged what the chain shows
	v.note(t, 2, "")
	v.decides(t, v.under(3, holder), 50)
	v.k.Nonce = 60
	v.decides(t, v.under(4, holder), 60)
}

func lateNote(t *testing.T, v *table) {
	v.decides(t, v.under(7, holder), 40)
	v.note(t, 6, "it was set aside before")
	v.decides(t, v.under(7, holder), 41)
	if k := v.read(t); k.Status != key.Leased || k.Fence != 7 {
		t.Errorf("after a late note it is %+v", k)
	}
}

func sameKey(t *testing.T, v *table) {
	v.decides(t, v.under(1, holder), 40)
	other := v.under(2, holder)
	other.Key.Address = "0xother"
	v.refuses(t, other)
	v.decides(t, v.under(1, holder), 41)
}

func noteFails(t *testing.T, v *table) {
	for i, side := range []string{".before", ".after"} {
		fence := uint64(2*i + 1)
		v.decides(t, v.under(fence, holder), uint64(40+i))
		v.h.Faults.Arm("keys.note"+side, fault.Fail, 1)
		k := v.under(fence, holder).Key
		k.Status, k.Reason = key.Quarantined, "distrusted"
		want(t, v.m.Note(t.Context(), k), fault.ErrInjected)
		v.restart(t)
		if got := v.read(t).Status == key.Quarantined; got != (side == ".after") {
			t.Fatalf("keys.note%s: set aside is %t", side, got)
		}
		must(t, v.m.Note(t.Context(), k))
		v.refuses(t, v.under(fence, holder))
	}
}

func mirrorKeys(t *testing.T, v *table) {
	if list, err := v.m.Keys(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("a new table has %v, %v", list, err)
	}
	noted, decided := v.key(3), v.k
	must(t, v.m.Note(t.Context(), noted))
	v.decides(t, v.under(5, holder), 40)
	v.restart(t)
	list, err := v.m.Keys(t.Context())
	must(t, err)
	if len(list) != 2 || list[0].ID > list[1].ID {
		t.Fatalf("the table has %+v; want both by id", list)
	}
	if k := v.read(t); k.ID != decided.ID || k.Address != decided.Address || k.Pool != "hot" || k.Nonce != 41 || k.Fence != 5 || k.Holder != holder || !k.Known {
		t.Errorf("decided with, it is %+v", k)
	}
	if list, err := v.m.Keys(t.Context(), "key_none", noted.ID); err != nil || len(list) != 1 || list[0] != noted {
		t.Errorf("noted, it is %+v, %v; want %+v", list, err, noted)
	}
}

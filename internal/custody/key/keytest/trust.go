package keytest

import (
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/typeid"
)

// TrustHarness is a registry under test with the trust in its keys.
type TrustHarness struct {
	// Open opens both on the same storage again, as the next process does; what was opened before has ended.
	Open func(t testing.TB) (key.Registry, key.Trust)
	// Faults are those that both were opened with.
	Faults *fault.Points
}

// RunTrust runs the suite of key.Trust; each test gets storage of its own.
func RunTrust(t *testing.T, fresh func(t testing.TB) TrustHarness) {
	conform.Suite[*vault]{
		Cases: map[string]func(*testing.T, *vault){
			"basic/I10ReconcileDoesNotRestoreIt":          notReconciled,
			"basic/ForeignUseNeedsAnOperator":             needsOperator,
			"basic/OnlyWhatTheChainShows":                 onlyWhatIsSeen,
			"transactions/ALeaseOfAKeyNotTrustedHasEnded": leaseEnded,
			"basic/EntriesKeepTheirOrder":                 entries,
			"faults/EachWriteFails":                       trustFaults,
		},
		Lacks: map[conform.Tier]string{
			conform.Concurrency: "each call is one write about one key; what runs beside it is in the suite of key.Registry",
		},
	}.Run(t, func(t *testing.T) *vault {
		v := &vault{h: fresh(t), id: typeid.New("key")}
		v.restart(t)
		must(t, v.keys.Add(t.Context(), key.Key{ID: v.id, Chain: network, Address: "0x" + v.id}))
		must(t, v.keys.Reconcile(t.Context(), v.id, 7))
		return v
	})
}

// vault is a registry with one key, whose first seven nonces were spent before Aval knew of it.
type vault struct {
	h     TrustHarness
	keys  key.Registry
	trust key.Trust
	id    string
}

func (v *vault) restart(t testing.TB) { v.keys, v.trust = v.h.Open(t) }

func (v *vault) get(t testing.TB) key.Key {
	t.Helper()
	k, err := v.keys.Get(t.Context(), v.id)
	must(t, err)
	return k
}

func (v *vault) lease(t testing.TB) (key.Lease, error) {
	t.Helper()
	return v.keys.Lease(t.Context(), key.Request{Holder: holder, Key: v.id, TTL: time.Hour})
}

func notReconciled(t *testing.T, v *vault) {
	must(t, v.trust.Distrust(t.Context(), v.id, "aval", "somebody spent nonce 6"))
	for range 2 {
		want(t, v.keys.Reconcile(t.Context(), v.id, 7), key.ErrForeignUse)
		if k := v.get(t); k.Status != key.Quarantined || k.Reason != "somebody spent nonce 6" {
			t.Fatalf("reconciled, it is %+v", k)
		}
		_, err := v.lease(t)
		want(t, err, key.ErrQuarantined)
		v.restart(t)
	}
	must(t, v.trust.Acknowledge(t.Context(), v.id, 7, "alice", "it was a test"))
	if k := v.get(t); k.Status != key.Free || k.Nonce != 7 || k.Reason != "" {
		t.Errorf("acknowledged, it is %+v", k)
	}
	_, err := v.lease(t)
	must(t, err)
}

// needsOperator: what Reconcile itself finds out is acknowledged in the same way, and the next nonce is the chain's.
func needsOperator(t *testing.T, v *vault) {
	want(t, v.keys.Reconcile(t.Context(), v.id, 12), key.ErrForeignUse)
	want(t, v.keys.Reconcile(t.Context(), v.id, 3), key.ErrForeignUse) // a node that lags clears nothing
	must(t, v.trust.Acknowledge(t.Context(), v.id, 12, "alice", "an old system"))
	must(t, v.keys.Reconcile(t.Context(), v.id, 12))
	if k := v.get(t); k.Status != key.Free || k.Nonce != 12 {
		t.Errorf("acknowledged, it is %+v", k)
	}
}

func onlyWhatIsSeen(t *testing.T, v *vault) {
	want(t, v.trust.Acknowledge(t.Context(), v.id, 7, "alice", "to be sure"), key.ErrUnacknowledged) // it is trusted
	want(t, v.keys.Reconcile(t.Context(), v.id, 12), key.ErrForeignUse)
	for _, spent := range []uint64{0, 7, 11, 13} {
		want(t, v.trust.Acknowledge(t.Context(), v.id, spent, "alice", "a guess"), key.ErrUnacknowledged)
	}
	if k := v.get(t); k.Status != key.Quarantined {
		t.Errorf("a wrong number has freed it: %+v", k)
	}
	for _, err := range []error{
		v.trust.Acknowledge(t.Context(), "key_none", 12, "alice", "?"), v.trust.Distrust(t.Context(), "key_none", "alice", "?"),
		func() error { _, err := v.trust.Entries(t.Context(), "key_none"); return err }(),
	} {
		want(t, err, key.ErrUnknown)
	}
}

func leaseEnded(t *testing.T, v *vault) {
	l, err := v.lease(t)
	must(t, err)
	must(t, v.trust.Distrust(t.Context(), v.id, "aval", "somebody else"))
	want(t, v.keys.Release(t.Context(), l), key.ErrStale)
	if k := v.get(t); k.Status != key.Quarantined || k.Holder != holder {
		t.Errorf("a late release left it %+v", k)
	}
}

func entries(t *testing.T, v *vault) {
	must(t, v.trust.Distrust(t.Context(), v.id, "aval", "first"))
	must(t, v.trust.Distrust(t.Context(), v.id, "aval", "again")) // it is not trusted already
	must(t, v.trust.Acknowledge(t.Context(), v.id, 7, "alice", "second"))
	want(t, v.keys.Reconcile(t.Context(), v.id, 9), key.ErrForeignUse)
	v.restart(t)
	got, err := v.trust.Entries(t.Context(), v.id)
	must(t, err)
	if len(got) != 3 || got[0].Why != "first" || got[0].What != key.EntryDistrusted || got[0].Nonce != 7 ||
		got[1].By != "alice" || got[1].What != key.EntryAcknowledged || got[2].What != key.EntryDistrusted || got[2].Nonce != 9 || got[2].At.IsZero() {
		t.Errorf("the entries are %+v", got)
	}
}

// trustFaults: what was reported as failed has happened or not, wholly, and can be repeated.
func trustFaults(t *testing.T, v *vault) {
	for _, side := range []string{".before", ".after"} {
		v.h.Faults.Arm("keys.distrust"+side, fault.Fail, 1)
		want(t, v.trust.Distrust(t.Context(), v.id, "aval", "somebody"), fault.ErrInjected)
		v.restart(t)
		if got := v.get(t).Status == key.Quarantined; got != (side == ".after") {
			t.Fatalf("distrust%s: quarantined is %t", side, got)
		}
		must(t, v.trust.Distrust(t.Context(), v.id, "aval", "somebody"))
		v.h.Faults.Arm("keys.acknowledge"+side, fault.Fail, 1)
		want(t, v.trust.Acknowledge(t.Context(), v.id, 7, "alice", "known"), fault.ErrInjected)
		v.restart(t)
		if side == ".before" {
			must(t, v.trust.Acknowledge(t.Context(), v.id, 7, "alice", "known"))
		}
		if k := v.get(t); k.Status != key.Free {
			t.Fatalf("acknowledge%s: it is %+v", side, k)
		}
	}
	if got, err := v.trust.Entries(t.Context(), v.id); err != nil || len(got) != 4 {
		t.Errorf("the entries are %+v, %v", got, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

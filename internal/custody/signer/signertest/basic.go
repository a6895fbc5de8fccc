package signertest

import (
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
)

func readBack(t *testing.T, h Harness) {
	w := open(t, h)
	s := steps(3)
	decided := w.decide(t, s)
	for i, d := range decided {
		if d.Step != s[i] || d.Key != w.k.ID || d.Chain != network || d.Fence != 1 || d.Signed.Hash != "" || d.Signed.Raw != nil || d.Tx.Value.Cmp(w.txs(3)[i].Value) != 0 {
			t.Errorf("decision %d is %+v", i, d)
		}
	}
	w.restart(t)
	same(t, w.find(t, s), decided)
	if found, err := w.d.Find(t.Context(), append(steps(2), signer.Step{Message: s[0].Message, State: "Other"})); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v for steps that nobody decided", found, err)
	}
	if found, err := w.d.Find(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v for no steps", found, err)
	}
}

func consecutive(t *testing.T, h Harness) {
	w := open(t, h)
	nonce := uint64(first)
	for _, n := range []int{1, 5, 0, 2} {
		for _, d := range w.decide(t, steps(n)) {
			if d.Nonce != nonce {
				t.Fatalf("nonce %d; want %d", d.Nonce, nonce)
			}
			nonce++
		}
		w.restart(t)
		must(t, w.r.Reconcile(t.Context(), w.k.ID, first))
		if next := w.next(t); next != nonce {
			t.Fatalf("the key's next nonce is %d; want %d", next, nonce)
		}
	}
}

func decidedOnce(t *testing.T, h Harness) {
	w := open(t, h)
	s := steps(3)
	before := w.decide(t, s[:2])
	after := w.decide(t, []signer.Step{s[1], s[2], s[0]})
	same(t, []signer.Decision{after[2], after[0]}, before)
	if after[1].Nonce != first+2 || w.next(t) != first+3 {
		t.Errorf("the new step got nonce %d, the next is %d; want %d, %d", after[1].Nonce, w.next(t), first+2, first+3)
	}
	// With another key, too.
	old := w.k
	w.k = w.key(t)
	must(t, w.r.Reconcile(t.Context(), w.k.ID, 0))
	same(t, w.decide(t, s[:2]), before)
	if w.next(t) != 0 || old.ID == w.k.ID {
		t.Errorf("a decided step took nonce %d of another key", w.next(t))
	}
}

func twiceInOneBatch(t *testing.T, h Harness) {
	w := open(t, h)
	s := steps(2)
	got := w.decide(t, []signer.Step{s[0], s[0], s[1]})
	same(t, got[1:2], got[:1])
	if got[2].Nonce != first+1 || w.next(t) != first+2 {
		t.Errorf("nonces %d and next %d; want no gap", got[2].Nonce, w.next(t))
	}
}

func storedOnce(t *testing.T, h Harness) {
	w := open(t, h)
	s := steps(3)
	decided := w.decide(t, s)
	mine := signAll(decided, "mine")
	kept, err := w.d.Store(t.Context(), mine[:2])
	must(t, err)
	same(t, kept, mine[:2])
	kept, err = w.d.Store(t.Context(), signAll(decided, "yours"))
	must(t, err)
	wanted := []signer.Decision{mine[0], mine[1], sign(decided[2], "yours")}
	same(t, kept, wanted)
	w.restart(t)
	same(t, w.find(t, s), wanted)
	same(t, w.decideQuarantined(t, s), wanted)
}

// decideQuarantined decides after a restart, as Sign would.
func (w *desk) decideQuarantined(t testing.TB, s []signer.Step) []signer.Decision {
	t.Helper()
	must(t, w.r.Reconcile(t.Context(), w.k.ID, first))
	return w.decide(t, s)
}

func unsigned(t *testing.T, h Harness) {
	w := open(t, h)
	decided := w.decide(t, steps(4))
	_, err := w.d.Store(t.Context(), signAll(decided[1:3], "me"))
	must(t, err)
	w.restart(t)
	left, err := w.d.Unsigned(t.Context(), w.k.ID)
	must(t, err)
	same(t, left, []signer.Decision{decided[0], decided[3]})
	if left, err := w.d.Unsigned(t.Context(), w.key(t).ID); err != nil || len(left) != 0 {
		t.Errorf("another key has %v, %v to sign", left, err)
	}
}

// unfit: what the key could never sign takes no nonce, and neither does the rest of its batch.
func unfit(t *testing.T, h Harness) {
	w := open(t, h)
	for name, spoil := range map[string]func(*chain.Unsigned){
		"sender": func(tx *chain.Unsigned) { tx.From = "0xother" },
		"chain":  func(tx *chain.Unsigned) { tx.Chain = "eip155:1" },
	} {
		l, txs, s := w.lease(t), w.txs(3), steps(3)
		spoil(&txs[1])
		_, err := w.d.Decide(t.Context(), l, s, txs)
		want(t, err, signer.ErrMismatch)
		if found := w.find(t, s); found[0].Key != "" || found[2].Key != "" || w.next(t) != first {
			t.Errorf("another %s: decided %+v, next nonce %d", name, found, w.next(t))
		}
		w.release(t, l)
	}
	l := w.lease(t)
	if _, err := w.d.Decide(t.Context(), l, steps(2), w.txs(1)); err == nil {
		t.Error("decided two steps with one transaction")
	}
}

func unreconciled(t *testing.T, h Harness) {
	w := open(t, h)
	w.k = w.key(t)
	l := w.lease(t)
	_, err := w.d.Decide(t.Context(), l, steps(1), w.txs(1))
	want(t, err, signer.ErrUnreconciled)
	must(t, w.r.Reconcile(t.Context(), w.k.ID, 3))
	decided, err := w.d.Decide(t.Context(), l, steps(1), w.txs(1))
	must(t, err)
	if decided[0].Nonce != 3 {
		t.Errorf("the first nonce is %d; want the chain's, 3", decided[0].Nonce)
	}
}

func undecided(t *testing.T, h Harness) {
	w := open(t, h)
	decided := w.decide(t, steps(2))
	for name, spoil := range map[string]func(*signer.Decision){
		"message": func(d *signer.Decision) { d.Step = steps(1)[0] }, "state": func(d *signer.Decision) { d.Step.State = "Other" },
		"nonce": func(d *signer.Decision) { d.Nonce += 7 }, "key": func(d *signer.Decision) { d.Key = w.key(t).ID },
		"hash": func(d *signer.Decision) { d.Signed.Hash = "" }, "bytes": func(d *signer.Decision) { d.Signed.Raw = nil },
	} {
		batch := signAll(decided, "me")
		spoil(&batch[1])
		if _, err := w.d.Store(t.Context(), batch); err == nil || !strings.Contains(err.Error(), string(batch[1].Step.Message)) {
			t.Errorf("another %s: %v; want decision-unknown", name, err)
		} else {
			want(t, err, signer.ErrUndecided)
		}
		same(t, w.find(t, []signer.Step{decided[0].Step, decided[1].Step}), decided)
	}
}

// refusedWith expects a lease to decide nothing.
func (w *desk) refusedWith(t testing.TB, l key.Lease) {
	t.Helper()
	s, before := steps(2), w.next(t)
	_, err := w.d.Decide(t.Context(), l, s, w.txs(2))
	want(t, err, key.ErrStale)
	if found := w.find(t, s); found[0].Key != "" || found[1].Key != "" || w.next(t) != before {
		t.Fatalf("a stale lease decided %+v; the next nonce is %d, was %d", found, w.next(t), before)
	}
}

package signertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
)

func afterRelease(t *testing.T, h Harness) {
	w := open(t, h)
	l := w.lease(t)
	w.release(t, l)
	w.refusedWith(t, l)
}

func overtaken(t *testing.T, h Harness) {
	w := open(t, h)
	old := w.lease(t)
	w.release(t, old)
	present := w.lease(t)
	w.refusedWith(t, old)
	higher := present
	higher.Fence += 5
	w.refusedWith(t, higher)
	if _, err := w.d.Decide(t.Context(), present, steps(1), w.txs(1)); err != nil {
		t.Errorf("the present lease: %v", err)
	}
}

// quarantined: a worker stopped for longer than its lease (fault S) wakes up after somebody noticed.
func quarantined(t *testing.T, h Harness) {
	w := open(t, h)
	l, err := w.r.Lease(t.Context(), key.Request{Holder: "worker-1/sign", Key: w.k.ID, TTL: time.Nanosecond})
	must(t, err)
	_, err = w.r.Lease(t.Context(), key.Request{Holder: "worker-1/other", Key: w.k.ID, TTL: time.Hour})
	want(t, err, key.ErrQuarantined)
	w.refusedWith(t, l)
	must(t, w.r.Reconcile(t.Context(), w.k.ID, first))
	w.refusedWith(t, l)
	w.lease(t)
	w.refusedWith(t, l)
}

func ofAnother(t *testing.T, h Harness) {
	w := open(t, h)
	l := w.lease(t)
	l.Holder = "worker-2/sign"
	w.refusedWith(t, l)
	l.Holder, l.Key.ID = "worker-1/sign", "key_none"
	w.refusedWith(t, l)
}

func disjoint(t *testing.T, h Harness) {
	w := open(t, h)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := map[uint64]int{}
	for worker := range 8 {
		wg.Go(func() {
			for range 5 {
				l, err := w.r.Lease(t.Context(), key.Request{Holder: fmt.Sprint("worker-1/", worker), Key: w.k.ID, TTL: time.Hour})
				if err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
				decided, err := w.d.Decide(t.Context(), l, steps(3), w.txs(3))
				if err = errors.Join(err, w.r.Release(t.Context(), l)); err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
				mu.Lock()
				for _, d := range decided {
					taken[d.Nonce]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for nonce := uint64(first); nonce < first+8*5*3; nonce++ {
		if taken[nonce] != 1 {
			t.Errorf("nonce %d was given %d times", nonce, taken[nonce])
		}
	}
	if w.next(t) != first+8*5*3 {
		t.Errorf("the next nonce is %d", w.next(t))
	}
}

// together runs n workers at once and gives what each got.
func together(t testing.TB, n int, run func(worker int) (signer.Decision, error)) []signer.Decision {
	t.Helper()
	var wg sync.WaitGroup
	got := make([]signer.Decision, n)
	for worker := range n {
		wg.Go(func() {
			var err error
			if got[worker], err = run(worker); err != nil {
				t.Errorf("worker %d: %v", worker, err)
			}
		})
	}
	wg.Wait()
	return got
}

func oneDecision(t *testing.T, h Harness) {
	w := open(t, h)
	s := steps(1)
	keys := make([]key.Lease, 6)
	desks := make([]desk, len(keys))
	for i := range keys {
		desks[i] = *w
		desks[i].k = w.key(t)
		must(t, w.r.Reconcile(t.Context(), desks[i].k.ID, uint64(i)))
		keys[i] = desks[i].lease(t)
	}
	got := together(t, len(keys), func(i int) (signer.Decision, error) {
		decided, err := w.d.Decide(t.Context(), keys[i], s, desks[i].txs(1))
		if err != nil {
			return signer.Decision{}, err
		}
		return decided[0], nil
	})
	for _, d := range got {
		same(t, []signer.Decision{d}, w.find(t, s))
	}
	used := 0
	for i := range desks {
		used += int(desks[i].next(t)) - i
	}
	if used != 1 {
		t.Errorf("%d nonces were taken for one step", used)
	}
}

func oneSignature(t *testing.T, h Harness) {
	w := open(t, h)
	decided := w.decide(t, steps(1))[0]
	got := together(t, 8, func(worker int) (signer.Decision, error) {
		kept, err := w.d.Store(t.Context(), []signer.Decision{sign(decided, fmt.Sprint(worker))})
		if err != nil {
			return signer.Decision{}, err
		}
		return kept[0], nil
	})
	for _, d := range got {
		same(t, []signer.Decision{d}, w.find(t, []signer.Step{decided.Step}))
	}
}

// sides is where a write is struck, and whether the process restarts before it looks.
func sides(run func(side string, stored, restart bool)) {
	for _, restart := range []bool{false, true} {
		run(".before", false, restart)
		run(".after", true, restart)
	}
}

// decideFaults: a decision that was not stored took no nonce; one that was is found, and deciding again changes nothing.
func decideFaults(t *testing.T, h Harness) {
	w := open(t, h)
	sides(func(side string, stored, restart bool) {
		s, nonce := steps(2), w.next(t)
		l := w.lease(t)
		h.Faults.Arm("decisions.decide"+side, fault.Fail, 1)
		_, err := w.d.Decide(t.Context(), l, s, w.txs(2))
		want(t, err, fault.ErrInjected)
		if restart {
			w.restart(t)
			_, err := w.r.Quarantine(t.Context(), key.OfProcess(""))
			must(t, err)
			must(t, w.r.Reconcile(t.Context(), w.k.ID, first))
		} else {
			w.release(t, l)
		}
		found := w.find(t, s)
		if (found[0].Key != "") != stored || (w.next(t) == nonce+2) != stored {
			t.Fatalf("decide%s: found %+v, the next nonce went from %d to %d", side, found, nonce, w.next(t))
		}
		again := w.decide(t, s)
		if again[0].Nonce != nonce || again[1].Nonce != nonce+1 || w.next(t) != nonce+2 {
			t.Fatalf("decide%s: decided again %+v; want nonces from %d", side, again, nonce)
		}
	})
}

// storeFaults: bytes that were not stored may be others the next time; those that were, stay.
func storeFaults(t *testing.T, h Harness) {
	w := open(t, h)
	sides(func(side string, stored, restart bool) {
		s := steps(2)
		decided := w.decide(t, s)
		h.Faults.Arm("decisions.store"+side, fault.Fail, 1)
		_, err := w.d.Store(t.Context(), signAll(decided, "first"))
		want(t, err, fault.ErrInjected)
		if restart {
			w.restart(t)
		}
		wanted := decided
		if stored {
			wanted = signAll(decided, "first")
		}
		same(t, w.find(t, s), wanted)
		if !stored {
			wanted = signAll(decided, "second")
		}
		kept, err := w.d.Store(t.Context(), signAll(decided, "second"))
		must(t, err)
		same(t, kept, wanted)
	})
}

// movesItsKey: whoever looks while decisions are made sees as many of them as the key's next nonce counts: they change together. The
// nonce is read before and after, as it can move in between.
func movesItsKey(t *testing.T, h Harness) {
	w := open(t, h)
	const batches, each = 20, 3
	all := steps(batches * each)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range batches {
			l, err := w.r.Lease(t.Context(), key.Request{Holder: "worker-1/sign", Key: w.k.ID, TTL: time.Hour})
			if err == nil {
				_, err = w.d.Decide(t.Context(), l, all[i*each:(i+1)*each], w.txs(each))
			}
			if err == nil {
				err = w.r.Release(t.Context(), l)
			}
			if err != nil {
				t.Errorf("batch %d: %v", i, err)
				return
			}
		}
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		before := w.next(t)
		decided := uint64(0)
		for _, d := range w.find(t, all) {
			if d.Key != "" {
				decided++
			}
		}
		if after := w.next(t); decided < before-first || decided > after-first || decided%each != 0 {
			t.Fatalf("%d decisions are there, and the next nonce went from %d to %d; the first was %d", decided, before, after, first)
		}
	}
	<-done
}

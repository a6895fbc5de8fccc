package keytest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
)

// oneHolder: many workers want three keys, by name and by pool. A key has one holder at a time, fences grow strictly (I9),
// and everybody gets his turns (I11).
func oneHolder(t *testing.T, h Harness) {
	r := h.Open(t)
	keys := []key.Key{add(t, r, "hot"), add(t, r, "hot"), add(t, r, "hot")}
	held, fences := map[string]*atomic.Int32{}, map[string]*uint64{}
	for _, k := range keys {
		held[k.ID], fences[k.ID] = new(atomic.Int32), new(uint64)
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for turn := range 8 {
				q := anyOf("hot")
				if (w+turn)%3 == 0 {
					q = one(keys[w%3].ID)
				}
				q.Holder = name(w)
				l, err := r.Lease(t.Context(), q)
				if err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
				if held[l.Key.ID].Add(1) != 1 {
					t.Errorf("%s has two holders", l.Key.ID)
				}
				if last := fences[l.Key.ID]; l.Fence <= *last {
					t.Errorf("the fence of %s went from %d to %d", l.Key.ID, *last, l.Fence)
				} else {
					*last = l.Fence // guarded by the lease
				}
				held[l.Key.ID].Add(-1)
				if err := r.Release(t.Context(), l); err != nil {
					t.Errorf("worker %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	var total uint64
	for _, last := range fences {
		total += *last
	}
	if total != 16*8 && !t.Failed() {
		t.Errorf("the fences count %d leases, %d were given", total, 16*8)
	}
}

// waiting leases in the background.
func waiting(ctx context.Context, r key.Registry, q key.Request) <-chan error {
	done := make(chan error, 1)
	go func() {
		l, err := r.Lease(ctx, q)
		if err == nil {
			err = r.Release(context.WithoutCancel(ctx), l)
		}
		done <- err
	}()
	return done
}

func waiterWoken(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "hot")
	for range 10 {
		l := lease(t, r, one(k.ID))
		byName, byPool := waiting(t.Context(), r, one(k.ID)), waiting(t.Context(), r, anyOf("hot"))
		release(t, r, l)
		want(t, <-byName, nil)
		want(t, <-byPool, nil)
	}
	// A reconciled key is free for whoever waits.
	l := lease(t, r, one(k.ID))
	done := waiting(t.Context(), r, one(k.ID))
	reconcile(t, r, k.ID, 4)
	release(t, r, l)
	want(t, <-done, nil)
}

func waiterGivesUp(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "hot")
	l := lease(t, r, one(k.ID))
	ctx, cancel := context.WithCancel(t.Context())
	var given []<-chan error
	for range 4 {
		given = append(given, waiting(ctx, r, one(k.ID)), waiting(ctx, r, anyOf("hot")))
	}
	stays := waiting(t.Context(), r, anyOf("hot"))
	cancel()
	for _, done := range given {
		want(t, <-done, key.ErrBusy)
	}
	release(t, r, l)
	want(t, <-stays, nil)
	_, err := r.Lease(ctx, one(k.ID)) // no time at all, though the key is free
	want(t, err, key.ErrBusy)
	if got := get(t, r, k.ID); got.Status != key.Free {
		t.Fatalf("left behind %+v", got)
	}
}

// busyGetsNothing: a key that becomes free as the time of a caller ends is leased to him, or he is told that it was busy and it is free
// for the next. No lease is left that nobody knows of, which would set the key aside.
func busyGetsNothing(t *testing.T, h Harness) {
	r := h.Open(t)
	k := add(t, r, "hot")
	moment := func(n int) time.Duration { return time.Duration(n%30) * 100 * time.Microsecond }
	for n := range 200 {
		l := lease(t, r, one(k.ID))
		ctx, cancel := context.WithTimeout(t.Context(), moment(n))
		done := waiting(ctx, r, anyOf("hot"))
		time.Sleep(moment(n / 7)) // before it, and after it
		release(t, r, l)
		if err := <-done; err != nil {
			want(t, err, key.ErrBusy)
		}
		cancel()
		release(t, r, lease(t, r, one(k.ID)))
	}
}

// specificAndPool: who waits for one key is not served with another, and does not keep others from those.
func specificAndPool(t *testing.T, h Harness) {
	r := h.Open(t)
	a, b := add(t, r, "hot"), add(t, r, "hot")
	heldA, heldB := lease(t, r, one(a.ID)), lease(t, r, one(b.ID))
	first := waiting(t.Context(), r, one(a.ID))
	release(t, r, heldB)
	if l := lease(t, r, anyOf("hot")); l.Key.ID != b.ID {
		t.Fatalf("leased %s while it is held", l.Key.ID)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pool := waiting(ctx, r, anyOf("hot"))
	add(t, r, "hot")
	want(t, <-pool, nil)
	cancel()
	release(t, r, heldA)
	want(t, <-first, nil)
}

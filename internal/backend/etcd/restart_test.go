//go:build cluster

package etcd_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/test/e2e/stage"
)

// ledger is what the workers know, outside of etcd.
type ledger struct {
	mu     sync.Mutex
	fences map[string]uint64 // the newest of each key
	holder map[string]string
	total  atomic.Int64
}

func (l *ledger) got(t *testing.T, lease key.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.holder[lease.Key.ID]; other != "" {
		t.Errorf("%s was leased to %s while %s held it", lease.Key.ID, lease.Holder, other)
	}
	if last := l.fences[lease.Key.ID]; lease.Fence <= last {
		t.Errorf("the fence of %s went from %d to %d", lease.Key.ID, last, lease.Fence)
	}
	l.fences[lease.Key.ID], l.holder[lease.Key.ID] = lease.Fence, lease.Holder
	l.total.Add(1)
}

func (l *ledger) gives(lease key.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder[lease.Key.ID] = ""
}

// TestI9TheServerIsKilledDuringLeases: etcd gets SIGKILL while the workers of two processes lease keys, and is started again,
// three times. Nothing is leased twice, no fence comes again, and in the end every key can be leased.
func TestI9TheServerIsKilledDuringLeases(t *testing.T) {
	server := stage.NewServer(t, "etcd")
	options := etcd.Options{Endpoints: []string{server.URL(t)}, Name: "test"}
	var processes []*etcd.Keys
	for range 2 {
		k, err := etcd.Open(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ended(t, k) })
		processes = append(processes, k)
	}
	ids := addKeys(t, processes[0], 4)
	known := &ledger{fences: map[string]uint64{}, holder: map[string]string{}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var workers sync.WaitGroup
	for _, k := range processes {
		for range 6 {
			workers.Go(func() { work(ctx, t, k, known) })
		}
	}
	more := func(n int64) {
		for until := known.total.Load() + n; known.total.Load() < until && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	more(200)
	for range 3 {
		for _, what := range []string{"kill", "start"} {
			if err := server.Act(what); err != nil {
				t.Fatal(err)
			}
		}
		more(200)
	}
	if ctx.Err() != nil {
		t.Errorf("after %d leases no more were given", known.total.Load())
	}
	cancel()
	workers.Wait()
	for _, id := range ids {
		for _, k := range processes {
			if _, err := k.Quarantine(t.Context(), key.OfProcess("")); err != nil { // nobody works any more
				t.Fatal(err)
			}
		}
		if err := processes[1].Reconcile(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		known.got(t, leased(t, processes[1], named(processes[1], id)))
	}
	t.Logf("%d leases", known.total.Load())
}

// work leases and releases until ctx ends, and reconciles what was set aside because an outcome was not known.
func work(ctx context.Context, t *testing.T, k *etcd.Keys, known *ledger) {
	for ctx.Err() == nil {
		l, err := k.Lease(ctx, anyKey(k))
		if err != nil {
			if errors.Is(err, key.ErrQuarantined) || errors.Is(err, key.ErrUnknown) {
				free(ctx, k)
			}
			continue
		}
		known.got(t, l)
		known.gives(l)
		for ctx.Err() == nil { // whether a release that failed has happened is not known: again it does no harm (I9)
			if err := k.Release(ctx, l); err == nil || errors.Is(err, key.ErrStale) {
				break
			}
		}
	}
}

func free(ctx context.Context, k *etcd.Keys) {
	all, err := k.List(ctx)
	if err != nil {
		return
	}
	for _, found := range all {
		if found.Status == key.Quarantined {
			_ = k.Reconcile(ctx, found.ID, 0) // the next one tries again
		}
	}
}

package signer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/leader"
)

// ballot is an election that the test decides: each value that is sent lets somebody have the seat until it is called.
type ballot chan context.CancelFunc

func (b ballot) Hold(ctx context.Context, _ string) (context.Context, func(), error) {
	term, end := context.WithCancel(ctx)
	select {
	case b <- end:
		return term, end, nil
	case <-ctx.Done():
		end()
		return nil, nil, ctx.Err()
	}
}

// tended is a signer that tends keys every two seconds of a clock that the test moves.
type tended struct {
	*room
	log    bytes.Buffer
	silent error // what the chain fails with
}

// tend runs the test while keys are tended, within the seat; nil is always had.
func tend(t *testing.T, seat *leader.Seat, run func(*testing.T, *tended)) {
	t.Helper()
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &tended{room: &room{folder: folder, faults: fault.New(), chain: map[string]uint64{}, pool: map[string]uint64{}, close: func() {}}}
		r.start(t, "signer")
		defer r.close()
		nonces := func(_ context.Context, _, address string) (chain.Account, error) {
			return chain.Account{Nonce: r.chain[address], Pending: r.chain[address]}, r.silent
		}
		s := signer.New(r.registry, r.decisions, r.keys, codecs, nonces, signer.Options{Holder: "signer", Log: slog.New(slog.NewTextHandler(&r.log, nil))})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Tend(ctx, "signer", seat, 2*time.Second) }()
		run(t, r)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v; want nothing, since it was asked to", err)
		}
	})
}

// wait lets time pass until what was due is done.
func (r *tended) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// leased is a key whose holder is never heard of again.
func (r *tended) leased(t *testing.T) key.Key {
	t.Helper()
	k := r.key(t)
	if err := r.registry.Reconcile(t.Context(), k.ID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.registry.Lease(t.Context(), key.Request{Holder: "signer/1", Key: k.ID, TTL: 9 * time.Second}); err != nil {
		t.Fatal(err)
	}
	return k
}

func (r *tended) told(line string) int { return strings.Count(r.log.String(), line) }

// TestI10KeysAreTendedThoughNobodyWantsThem: a lease that ran out is set aside with its holder's name, compared with the chain, and free.
func TestI10KeysAreTendedThoughNobodyWantsThem(t *testing.T) {
	tend(t, nil, func(t *testing.T, r *tended) {
		k := r.leased(t)
		r.wait(9 * time.Second)
		if got := status(t, r.room, k); got.Status != key.Leased {
			t.Errorf("while the lease lasts it is %+v", got)
		}
		r.wait(2 * time.Second)
		if got := status(t, r.room, k); got.Status != key.Free || !got.Known {
			t.Errorf("after the lease it is %+v; want free, and compared with the chain", got)
		}
		if !strings.Contains(r.log.String(), "holder=signer/1") || r.told("key quarantined") != 1 {
			t.Errorf("it was not told who held it: %s", r.log.String())
		}
	})
}

// TestOneProcessTendsKeys: the one that has the seat, for as long as it has it.
func TestOneProcessTendsKeys(t *testing.T) {
	var elections ballot
	seat := leader.New(lazily{&elections}, "watcher", slog.New(slog.DiscardHandler))
	tend(t, seat, func(t *testing.T, r *tended) {
		elections = make(ballot)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- seat.Run(ctx) }()
		k := r.leased(t)
		r.wait(time.Minute)
		if got := status(t, r.room, k); got.Status != key.Leased {
			t.Errorf("without the seat it made the key %+v", got)
		}
		lose := <-elections
		r.wait(2 * time.Second)
		if got := status(t, r.room, k); got.Status != key.Free {
			t.Errorf("with the seat it left the key %+v", got)
		}
		lose()
		next := r.leased(t)
		r.wait(time.Minute)
		if got := status(t, r.room, next); got.Status != key.Leased {
			t.Errorf("after it has lost the seat it made the key %+v", got)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// lazily is an election whose channel is made later, in the test's own bubble.
type lazily struct{ of *ballot }

func (l lazily) Hold(ctx context.Context, seat string) (context.Context, func(), error) {
	return l.of.Hold(ctx, seat)
}

// TestWhyAKeyStaysAsideIsToldOnce: each cause once, however often it is looked at, and the other keys do not wait for it.
func TestWhyAKeyStaysAsideIsToldOnce(t *testing.T) {
	const stays = "key stays quarantined"
	tend(t, nil, func(t *testing.T, r *tended) {
		k, fine := r.leased(t), r.leased(t)
		r.chain[k.Address] = 3 // nobody here has signed anything
		r.wait(time.Minute)
		if got := status(t, r.room, k); got.Status != key.Quarantined || r.told(stays) != 1 || !strings.Contains(r.log.String(), "find out which") {
			t.Errorf("it is %+v, told: %s", got, r.log.String())
		}
		if got := status(t, r.room, fine); got.Status != key.Free {
			t.Errorf("the other key waits for it: %+v", got)
		}
		r.silent = errors.New("the node does not answer")
		r.wait(time.Minute)
		if n := r.told(stays); n != 2 {
			t.Errorf("two causes were told in %d lines: %s", n, r.log.String())
		}
	})
}

// TestTendingGoesOnAfterAFailure of the registry: told, and tried again at the next tick.
func TestTendingGoesOnAfterAFailure(t *testing.T) {
	tend(t, nil, func(t *testing.T, r *tended) {
		k := r.leased(t)
		r.wait(8 * time.Second)
		r.faults.Arm("keys.quarantine.before", fault.Fail, 1)
		r.wait(2 * time.Second)
		if r.told("tried again") != 1 {
			t.Errorf("the failure was not told: %s", r.log.String())
		}
		r.wait(2 * time.Second)
		if got := status(t, r.room, k); got.Status != key.Free {
			t.Errorf("it gave up: %+v", got)
		}
	})
}

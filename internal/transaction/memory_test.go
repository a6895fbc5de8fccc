package transaction_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/transaction"
)

// counted counts how many steps are looked for in the store.
type counted struct {
	transaction.Store
	steps atomic.Int64
}

func (c *counted) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]transaction.Transaction, error) {
	c.steps.Add(int64(len(steps)))
	return c.Store.Find(ctx, steps)
}

// count has the keeper's questions counted; it is a new keeper.
func (r *room) count() *counted {
	c := &counted{Store: r.store}
	ports := transaction.Ports{Store: c, Network: r.network, Follower: r.network, Market: r.network, Signer: r.signer, Keys: r.keys}
	r.keeper = transaction.New(ports, r.options)
	return c
}

// tell has the keeper told of what was signed, as the sign action does.
func (r *room) tell(t *testing.T, steps []signer.Step) {
	t.Helper()
	requests := make([]signer.Request, len(steps))
	for i := range steps {
		requests[i].Step = steps[i]
	}
	decisions, errs := r.signer.Sign(t.Context(), r.k.ID, requests)
	check(t, errors.Join(errs...))
	r.keeper.Signed(decisions)
}

// TestWhoKeepsALaneReadsNothingTwice: what was signed here is sent, and told of once it is confirmed, from memory; and memory says what
// the store does.
func TestWhoKeepsALaneReadsNothingTwice(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	store := r.count()
	r.run(t)
	r.ended(t, r.sign(t, 1, nil)) // from here on the lane is kept
	steps := r.sign(t, 5, nil)
	r.tell(t, steps)
	before := store.steps.Load()
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	all := r.ended(t, steps)
	if n := store.steps.Load() - before; n > 0 {
		t.Errorf("%d steps were looked for in the store", n)
	}
	stored, err := r.store.Find(t.Context(), steps)
	check(t, err)
	for i, s := range steps {
		got, want := all[i], stored[s]
		if got.Fate.Sent.UnixMicro() != want.Fate.Sent.UnixMicro() {
			t.Errorf("%d was sent at %s, and is stored as sent at %s", i, got.Fate.Sent, want.Fate.Sent)
		}
		got.Fate.Sent, want.Settled = want.Fate.Sent, false
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d is remembered as %+v, and stored as %+v", i, got.Fate, want.Fate)
		}
	}
}

// overtaken has somebody ask between the moment at which marks are stored and that at which whoever stored them knows.
type overtaken struct {
	transaction.Store
	ask func(m transaction.Marks)
}

func (o *overtaken) Mark(ctx context.Context, key string, m transaction.Marks) error {
	err := o.Store.Mark(ctx, key, m)
	if err == nil {
		o.ask(m)
	}
	return err
}

// TestI14NobodyIsToldLessThanIsStored: memory does not say what was, once something else is stored.
func TestI14NobodyIsToldLessThanIsStored(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	var steps []signer.Step // by nonce
	var asking sync.WaitGroup
	var asked atomic.Int64
	store := &overtaken{Store: r.store, ask: func(m transaction.Marks) {
		for nonce, fate := range m.Fates {
			step, answered := steps[nonce], make(chan struct{})
			asking.Go(func() {
				defer close(answered)
				found, err := r.keeper.Find(t.Context(), []signer.Step{step})
				if now := found[step].Fate; err == nil && now.Status != fate.Status && now.Status != transaction.Confirmed {
					t.Errorf("nonce %d is stored as %s, and told to be %s", nonce, fate.Status, now.Status)
				}
				asked.Add(1)
			})
			select {
			case <-answered:
			case <-time.After(20 * time.Millisecond): // who waits is answered afterwards
			}
		}
	}}
	ports := transaction.Ports{Store: store, Network: r.network, Follower: r.network, Market: r.network, Signer: r.signer, Keys: r.keys}
	r.keeper = transaction.New(ports, r.options)
	steps = append(steps, r.sign(t, 1, nil)...)
	steps = append(steps, r.sign(t, 5, nil)...)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	r.ended(t, steps)
	asking.Wait()
	if asked.Load() < 6 {
		t.Errorf("only %d marks were asked for", asked.Load())
	}
}

// TestWhoKeepsALaneNoMoreReadsTheStore: it has sent transactions, and another process records what becomes of them.
func TestWhoKeepsALaneNoMoreReadsTheStore(t *testing.T) {
	for name, frozen := range map[string]bool{"it works no more": false, "it has lost the seat and sees no head": true} {
		t.Run(name, func(t *testing.T) {
			seats := make(polls, 1)
			r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
			free := r.options
			if frozen {
				r.options.Seat = leader.New(seats, "lanes", slog.New(slog.DiscardHandler))
			}
			blind := &blindfold{Follower: r.network}
			ports := transaction.Ports{Store: r.store, Network: r.network, Follower: blind, Market: r.network, Signer: r.signer, Keys: r.keys}
			first := transaction.New(ports, r.options)
			ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
			t.Cleanup(stop)
			var kept, led sync.WaitGroup
			kept.Go(func() { check(t, first.Run(ctx)) })
			term, resign := context.WithCancel(ctx)
			if frozen {
				led.Go(func() { check(t, r.options.Seat.Run(term)) })
			}
			r.keeper = first
			r.ended(t, r.sign(t, 1, nil))
			blind.on.Store(true) // no look from here on
			steps := r.sign(t, 5, nil)
			r.tell(t, steps)
			check(t, errors.Join(first.Offer(t.Context(), steps)...))
			if resign(); !frozen {
				stop()
				kept.Wait()
			}
			led.Wait()
			r.options = free
			r.keeper = r.other()
			r.run(t)
			r.ended(t, steps)
			r.keeper = first
			r.ended(t, steps)
			stop()
			kept.Wait()
		})
	}
}

// blindfold keeps a keeper from seeing how far its lanes have come.
type blindfold struct {
	chain.Follower
	on atomic.Bool
}

func (b *blindfold) Nonces(ctx context.Context, addresses []string) ([]uint64, uint64, error) {
	if b.on.Load() {
		return nil, 0, errors.New("no node answers")
	}
	return b.Follower.Nonces(ctx, addresses)
}

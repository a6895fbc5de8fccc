package transaction_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/transaction"
)

// polls is an election that the test decides.
type polls chan struct{}

// Hold gives the seat to who can put something into the channel.
func (p polls) Hold(ctx context.Context, _ string) (context.Context, func(), error) {
	select {
	case p <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	term, end := context.WithCancel(ctx)
	return term, sync.OnceFunc(func() { end(); <-p }), nil
}

// TestI12ASecondKeeperTakesOver: of two keepers one works. When it is gone the other one drives on what it left, knowing only
// what is stored: also what was mined by an attempt that it has not seen.
func TestI12ASecondKeeperTakesOver(t *testing.T) {
	seats := make(polls, 1)
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick, Policy: patient(2)})
	var keepers [2]*transaction.Keeper
	var stops [2]func()
	for i := range keepers {
		seat := leader.New(seats, "lanes", slog.New(slog.DiscardHandler))
		r.options.Seat = seat
		keepers[i] = r.other()
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		var done sync.WaitGroup
		done.Go(func() { check(t, seat.Run(ctx)) })
		done.Go(func() { check(t, keepers[i].Run(ctx)) })
		stops[i] = sync.OnceFunc(func() { stop(); done.Wait() })
		t.Cleanup(stops[i])
		if i == 0 {
			eventually(t, "the first to lead", seat.Had)
		}
	}
	one, two := r.sign(t, 3, nearlyFree), r.sign(t, 3, nil)
	check(t, errors.Join(keepers[1].Offer(t.Context(), one)...)) // offered by who does not keep the lane
	for _, tx := range r.ended(t, one) {
		if n := len(tx.Attempts); n > 2 || tx.Nonce == 0 && n < 2 {
			t.Errorf("nonce %d has %d attempts: %v", tx.Nonce, n, r.history(t, tx))
		}
	}
	stops[0]()
	check(t, errors.Join(keepers[1].Offer(t.Context(), two)...))
	three := r.sign(t, 3, nearlyFree) // and nobody offers them
	r.ended(t, append(two, three...))
	if k, err := r.keys.Get(t.Context(), r.k.ID); err != nil || k.Reason != "" {
		t.Errorf("the key is %s: %s, %v", k.Status, k.Reason, err)
	}
}

// other is a keeper of another process on the same store.
func (r *room) other() *transaction.Keeper {
	ports := transaction.Ports{Store: r.store, Network: r.network, Follower: r.network, Market: r.network, Signer: r.signer, Keys: r.keys}
	return transaction.New(ports, r.options)
}

// TestI6AnAttemptOfAnotherProcessIsNoForeignUse: a keeper knows the first attempt, another process adds one and the chain mines
// that. The keeper must read what was decided before it believes that somebody else has spent the nonce.
func TestI6AnAttemptOfAnotherProcessIsNoForeignUse(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick, Policy: patient(0)})
	steps := r.sign(t, 2, nearlyFree)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	here := &transaction.Desk{Keeper: r.keeper, Journal: r.store}
	there := &transaction.Desk{Keeper: r.other(), Journal: r.store}
	id := transaction.ID{Key: r.k.ID, Nonce: 0}
	show(t, here, id, "the next block asks")
	_, err := there.Bump(t.Context(), id, nil, "op", "from another process")
	check(t, err)
	for i, tx := range r.ended(t, steps) {
		if mined, _ := tx.Ended(); i == 0 && mined.Number != 1 {
			t.Errorf("attempt %d was mined: %v", mined.Number, r.history(t, tx))
		}
	}
	k, err := r.keys.Get(context.WithoutCancel(t.Context()), r.k.ID)
	check(t, err)
	if k.Reason != "" {
		t.Errorf("the key is %s: %s", k.Status, k.Reason)
	}
}

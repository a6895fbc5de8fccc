package transaction_test

import (
	"context"
	"errors"
	"testing"

	"github.com/avalhq/aval/internal/transaction"
)

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

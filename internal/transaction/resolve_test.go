package transaction_test

import (
	"context"
	"errors"
	"testing"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/transaction"
)

// forgetful is a node that keeps nothing of transactions. asked is called before it says so of a nonce.
type forgetful struct {
	chain.Network
	blindfold
	asked func()
}

func (f *forgetful) Status(ctx context.Context, hashes []string) ([]chain.Status, error) {
	head, err := f.Network.Head(ctx)
	all := make([]chain.Status, len(hashes))
	for i := range all {
		all[i] = chain.Status{State: chain.Unknown, Head: head}
	}
	return all, err
}

func (f *forgetful) Trace(context.Context, chain.Use) (chain.Trace, error) {
	if f.asked != nil {
		f.asked()
	}
	return chain.Trace{}, nil
}

// over is a keeper over such a node.
func (r *room) over(f *forgetful) *transaction.Keeper {
	f.Network, f.Follower = r.network, r.network
	return transaction.New(transaction.Ports{Store: r.store, Network: f, Follower: f, Market: r.network, Signer: r.signer, Keys: r.keys}, r.options)
}

// unknown waits until a lane's only transaction is recorded as unknown.
func (r *room) unknown(t *testing.T) (steps []signer.Step) {
	t.Helper()
	steps = r.sign(t, 1, nil)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	eventually(t, "the transaction to be unknown", func() bool {
		found, err := r.keeper.Find(t.Context(), steps)
		check(t, err)
		return found[steps[0]].Status() == transaction.Unknown
	})
	return steps
}

// TestI5AVerdictReplacesNothingThatIsKnown: while the nodes are asked of what an operator says, another process records what became of the
// transaction.
func TestI5AVerdictReplacesNothingThatIsKnown(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	node := &forgetful{}
	r.keeper = r.over(node)
	steps := r.unknown(t)
	node.on.Store(true)
	id := transaction.ID{Key: r.k.ID}
	truth := transaction.Fate{Status: transaction.Confirmed, Success: true, Block: 3, GasUsed: 21000}
	late := &forgetful{asked: func() {
		check(t, r.store.Mark(t.Context(), id.Key, transaction.Marks{Fates: map[uint64]transaction.Fate{0: truth}}))
	}}
	desk := &transaction.Desk{Keeper: r.over(late), Journal: r.store}
	if _, err := desk.Resolve(t.Context(), id, transaction.Verdict{}, "alice", "an explorer shows it"); !errors.Is(err, transaction.ErrKnown) {
		t.Errorf("a verdict on what was recorded meanwhile: %v", err)
	}
	found, err := r.store.Find(t.Context(), steps)
	check(t, err)
	if got := found[steps[0]].Fate; got.Status != transaction.Confirmed {
		t.Errorf("what was recorded as confirmed is %s", got.Status)
	}
	if events, err := r.store.Events(t.Context(), id.Key, 0); err != nil || events[len(events)-1].What == transaction.EventResolved {
		t.Errorf("the verdict was recorded: %+v, %v", events, err)
	}
}

// TestI5AVerdictToAnotherProcessCountsAtOnce: who keeps the lane has the transaction in memory as unknown, and looks no more.
func TestI5AVerdictToAnotherProcessCountsAtOnce(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	node := &forgetful{}
	r.keeper = r.over(node)
	steps := r.unknown(t)
	node.on.Store(true)
	desk := &transaction.Desk{Keeper: r.over(&forgetful{}), Journal: r.store}
	_, err := desk.Resolve(t.Context(), transaction.ID{Key: r.k.ID}, transaction.Verdict{}, "alice", "an explorer shows it")
	check(t, err)
	found, err := r.keeper.Find(t.Context(), steps)
	check(t, err)
	if got := found[steps[0]].Status(); got != transaction.Lost {
		t.Errorf("what an operator has said to be lost is told as %s", got)
	}
}

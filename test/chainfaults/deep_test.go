//go:build nodes

package chainfaults

import (
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// settled waits until nothing of the steps is looked at any more.
func (r *room) settled(t *testing.T, steps []signer.Step) {
	t.Helper()
	eventually(t, "the transactions to be settled", func() bool {
		r.mine(t, 1)
		for _, tx := range r.find(t, steps) {
			if !tx.Settled {
				return false
			}
		}
		return true
	}, func() string { return r.open(t, steps) })
}

// TestI14DeeperThanFinal: a reorganisation takes away what was settled, and the node forgets it. It is told once, loudly; the same
// bytes are sent again, so that the lane goes on and the chain has each transfer once (I5, I12, I13).
func TestI14DeeperThanFinal(t *testing.T) {
	for name, finality := range map[string]chain.Tag{"by depth": "", "by the chain's tag": chain.Finalized} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, still(t, epochs...), setup{policy: patient, finality: finality})
			r.goesBeyond(t)
		})
	}
}

// epochs are so short that anvil calls a block finalized that has eight on top of it.
var epochs = []string{"--slots-in-an-epoch", "4"}

// TestI14FinalizedCounts: only what the chain calls finalized counts as confirmed. A reorganisation before that is none of a
// confirmed transaction, and what it took away is confirmed when it is finalized in its new block.
func TestI14FinalizedCounts(t *testing.T) {
	t.Parallel()
	r := newRoom(t, still(t, epochs...), setup{policy: patient, finality: chain.Finalized})
	r.mine(t, 2)
	steps := r.send(t, 3, nil)
	r.pooled(t, steps)
	r.mine(t, 1)
	r.seen(t, steps)
	for range 6 {
		r.mine(t, 1)
		time.Sleep(150 * time.Millisecond) // a look and more
	}
	for _, tx := range r.find(t, steps) {
		if tx.Status() != transaction.Mined {
			t.Errorf("nonce %d is %s, seven blocks deep, and the chain calls finalized what is nine deep", tx.Nonce, tx.Status())
		}
	}
	check(t, r.node.Reorg(t.Context(), 7))
	all := r.confirmed(t, steps, r.growing(t))
	var final struct{ Number hexutil.Uint64 }
	check(t, r.node.Call(t.Context(), &final, "eth_getBlockByNumber", "finalized", false))
	for _, tx := range all {
		if told := words(r.events(t, tx)); slices.Contains(told, transaction.EventReversed) || !slices.Contains(told, transaction.EventUnmined) {
			t.Errorf("nonce %d was taken out of its block before it was finalized, and its events are %v", tx.Nonce, told)
		}
		if tx.Fate.Block > uint64(final.Number) {
			t.Errorf("nonce %d is confirmed in block %d, and the chain calls %d finalized", tx.Nonce, tx.Fate.Block, uint64(final.Number))
		}
	}
	r.check(t)
}

// seen waits until the steps are recorded as mined.
func (r *room) seen(t *testing.T, steps []signer.Step) {
	t.Helper()
	eventually(t, "the transactions to be mined", func() bool {
		return !slices.ContainsFunc(r.find(t, steps), func(tx transaction.Transaction) bool { return !tx.Fate.Spent() })
	}, func() string { return r.open(t, steps) })
}

func (r *room) goesBeyond(t *testing.T) {
	t.Helper()
	r.mine(t, 2)
	before := r.head(t)
	old := r.send(t, 4, nil)
	r.confirmed(t, old, r.growing(t))
	r.settled(t, old)
	check(t, r.node.Reorg(t.Context(), r.head(t)-before))
	r.confirmed(t, r.send(t, 3, nil), r.growing(t))
	entries := readLedger(t, r.node, r.k.Address)[common.HexToAddress(r.k.Address)]
	all := r.find(t, r.steps)
	if len(entries) != len(all) {
		t.Fatalf("%d transactions were decided, the chain shows %d", len(all), len(entries))
	}
	for i, tx := range all {
		if told := words(r.events(t, tx)); i < len(old) && !slices.Equal(told, []string{transaction.EventReversed}) || len(tx.Attempts) != 1 {
			t.Errorf("transaction %d of %d that were settled has %d attempts and the events %v", i, len(old), len(tx.Attempts), told)
		}
		if entries[i].Hash().Hex() != tx.Attempts[0].Signed.Hash {
			t.Errorf("nonce %d is spent on %s, and %s was decided", i, entries[i].Hash(), tx.Attempts[0].Signed.Hash)
		}
	}
}

// TestI12NoncesThatAStrangerLetGo: somebody else uses the key (anvil signs for any address), an operator says that it is known, and a
// reorganisation takes the stranger's transactions away. Their nonces are filled, or nothing behind them would ever be mined. What
// was decided for one of them is done after all, unless its message has ended as lost: then it is never done.
func TestI12NoncesThatAStrangerLetGo(t *testing.T) {
	for name, final := range map[string]bool{"soon": false, "when it was final": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, still(t), setup{policy: patient})
			r.confirmed(t, r.send(t, 2, nil), r.growing(t))
			r.mine(t, 1)
			before := r.head(t)
			lost := r.meetsAStranger(t)
			if final {
				r.settled(t, lost)
			} else if r.find(t, lost)[0].Settled {
				t.Fatal("what was lost is final too soon")
			}
			check(t, r.node.Reorg(t.Context(), r.head(t)-before))
			late := r.send(t, 2, nil)
			r.confirmed(t, late, r.growing(t))
			entries := readLedger(t, r.node, r.k.Address)[common.HexToAddress(r.k.Address)]
			if len(entries) != 6 || r.find(t, late)[0].Nonce != 4 {
				t.Fatalf("the chain shows %d transactions, not 6", len(entries))
			}
			if paid := *entries[2].To() == common.HexToAddress(sink); paid == final || paid != (r.find(t, lost)[0].Status() == transaction.Confirmed) {
				t.Errorf("what was lost was done: %t; it is %s", paid, r.find(t, lost)[0].Status())
			}
			if !stage.Idle(entries[3].Transaction, common.HexToAddress(r.k.Address)) {
				t.Errorf("the nonce that nobody decided is spent on %s", entries[3].Hash())
			}
		})
	}
}

// meetsAStranger spends two nonces past Aval, which has decided the first of them; an operator acknowledges it.
func (r *room) meetsAStranger(t *testing.T) (lost []signer.Step) {
	t.Helper()
	check(t, r.node.Call(t.Context(), nil, "anvil_impersonateAccount", r.k.Address))
	for range 2 {
		check(t, r.node.Call(t.Context(), nil, "eth_sendTransaction", map[string]any{"from": r.k.Address, "to": sink, "value": "0x0"}))
	}
	lost = r.decide(t, 1, nil)
	r.mine(t, 1)
	eventually(t, "it to be recorded as lost", func() bool {
		return r.find(t, lost)[0].Status() == transaction.Lost
	}, func() string { return r.open(t, lost) })
	eventually(t, "what the stranger did to be acknowledged", func() bool { // again, where the look that has found it out was not over
		_ = r.keys.Acknowledge(t.Context(), r.k.ID, 4, "operator@example.org", "known") // refused while it is trusted
		time.Sleep(200 * time.Millisecond)                                              // a look and more
		k, err := r.keys.Get(t.Context(), r.k.ID)
		check(t, err)
		return k.Status == key.Free
	}, func() string { return r.open(t, lost) })
	return lost
}

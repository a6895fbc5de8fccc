//go:build nodes

package chainfaults

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// still is anvil that makes a block when it is told to.
func still(t *testing.T, arguments ...string) *nodes.Node {
	t.Helper()
	n := start(t, nodes.Anvil, nodes.Options{BlockTime: -1, Arguments: arguments})
	check(t, n.Mining(t.Context(), false))
	check(t, n.Mine(t.Context(), 1))
	return n
}

func (r *room) mine(t *testing.T, blocks uint64) {
	t.Helper()
	check(t, r.node.Mine(t.Context(), blocks))
}

func (r *room) head(t *testing.T) uint64 {
	t.Helper()
	var head hexutil.Uint64
	check(t, r.node.Call(t.Context(), &head, "eth_blockNumber"))
	return uint64(head)
}

// growing mines a block at each call.
func (r *room) growing(t *testing.T) func() { return func() { r.mine(t, 1) } }

// recorded waits until what is recorded of the steps is what the chain shows at this head: each mined, and confirmed where it is
// deep enough.
func (r *room) recorded(t *testing.T, steps []signer.Step) {
	t.Helper()
	head := r.head(t)
	eventually(t, "what the chain shows to be recorded", func() bool {
		for _, tx := range r.find(t, steps) {
			deep := head+1 >= tx.Fate.Block+confirmations
			if !tx.Fate.Spent() || deep != (tx.Status() == transaction.Confirmed) {
				return false
			}
		}
		return true
	}, func() string { return r.open(t, steps) })
}

// TestI14AReorganisationIsToldOnce gives up the newest 1 to 12 blocks, again and again, with transactions in them that were
// confirmed, or mined alone. The node forgets them. Each is told as taken back, once for each time that it was; each ends once
// more, by the same bytes.
func TestI14AReorganisationIsToldOnce(t *testing.T) {
	t.Parallel()
	r := newRoom(t, still(t), setup{policy: patient})
	chance := stage.NewChance(t, *seed)
	want := map[signer.Step][]string{} // of each step: how it was taken back
	taken := 0
	for round := range *reorgs {
		depth := uint64(round%12 + 1)
		for range 1 + chance.Below(3) { // several blocks, some of them with several transactions
			r.pooled(t, r.send(t, 1+chance.Below(3), nil))
			r.mine(t, 1+uint64(chance.Below(3)))
		}
		recent := r.steps[max(0, len(r.steps)-60):]
		r.recorded(t, recent)
		taken += r.reorganise(t, depth, recent, want)
		r.confirmed(t, recent, r.growing(t))
	}
	for i, tx := range r.check(t) {
		if len(tx.Attempts) != 1 {
			t.Errorf("transaction %d was signed %d times (I13)", i, len(tx.Attempts))
		}
		if told := takenBack(t, r.events(t, tx)); fmt.Sprint(told) != fmt.Sprint(want[r.steps[i]]) {
			t.Errorf("transaction %d was taken back as %v, and %v was told: events %v (I14)", i, want[r.steps[i]], told, words(r.events(t, tx)))
		}
	}
	if taken < *reorgs {
		t.Errorf("%d reorganisations took only %d transactions back", *reorgs, taken)
	}
	t.Logf("%d reorganisations, 1 to 12 blocks deep, took %d transactions out of their blocks %d times; each ended once", *reorgs, len(r.steps), taken)
}

// pooled waits until the node has the transactions.
func (r *room) pooled(t *testing.T, steps []signer.Step) {
	t.Helper()
	eventually(t, "the node to have the transactions", func() bool {
		for _, tx := range r.find(t, steps) {
			var known *struct{}
			check(t, r.node.Call(t.Context(), &known, "eth_getTransactionByHash", tx.Attempts[0].Signed.Hash))
			if known == nil {
				return false
			}
		}
		return true
	}, func() string { return r.open(t, steps) })
}

// reorganise gives blocks up, notes what is taken back with them, and counts it.
func (r *room) reorganise(t *testing.T, depth uint64, recent []signer.Step, want map[signer.Step][]string) (taken int) {
	t.Helper()
	head := r.head(t)
	for i, tx := range r.find(t, recent) {
		if tx.Fate.Block+depth <= head {
			continue
		}
		taken++
		as := transaction.EventUnmined
		if tx.Status() == transaction.Confirmed {
			as = transaction.EventReversed
		}
		want[recent[i]] = append(want[recent[i]], as)
	}
	check(t, r.node.Reorg(t.Context(), depth))
	eventually(t, "the reorganisation to be told", func() bool {
		for i, tx := range r.find(t, recent) {
			if len(takenBack(t, r.events(t, tx))) < len(want[recent[i]]) {
				return false
			}
		}
		return true
	}, func() string { return r.open(t, recent) })
	return taken
}

// takenBack picks the events of reorganisations. They come in the order of time; after each the bytes are sent again before
// the next.
func takenBack(t *testing.T, events []transaction.Event) (told []string) {
	t.Helper()
	sent := true
	for i, e := range events {
		if i > 0 && e.At.Before(events[i-1].At) {
			t.Errorf("event %d, %s, is of an earlier time than the one before it", i, e.What)
		}
		switch e.What {
		case transaction.EventReversed, transaction.EventUnmined, transaction.EventMoved:
			if !sent {
				t.Errorf("it was taken back twice and not sent in between: %v", words(events))
			}
			sent, told = false, append(told, e.What)
		case transaction.EventResent:
			sent = true
		}
	}
	return told
}

// TestI13WhatThePoolLostIsSentAgain empties the node's pool, again and again, with transactions in it: the stored bytes are
// sent again, and no others.
func TestI13WhatThePoolLostIsSentAgain(t *testing.T) {
	t.Parallel()
	r := newRoom(t, still(t), setup{policy: patient})
	for range *drops {
		steps := r.send(t, 5, nil)
		r.pooled(t, steps)
		check(t, r.node.DropAll(t.Context()))
		r.mine(t, 1) // an empty block: the keeper looks
		r.pooled(t, steps)
		r.confirmed(t, steps, r.growing(t))
	}
	for i, tx := range r.check(t) {
		if len(tx.Attempts) != 1 {
			t.Errorf("transaction %d was signed %d times (I13)", i, len(tx.Attempts))
		}
		if told := words(r.events(t, tx)); len(told) == 0 || told[0] != transaction.EventResent {
			t.Errorf("transaction %d was dropped, and its events are %v", i, told)
		}
	}
	if sent := len(r.wire.Broadcasts()); sent != len(r.steps) {
		t.Errorf("%d transactions were sent for %d nonces", sent, len(r.steps))
	}
	t.Logf("the pool was emptied %d times, with %d transactions in it", *drops, len(r.steps))
}

// TestI6WhenTheBaseFeeLeaps: it is ten times as high from one block to the next, and stays there. All that waits is raised,
// with the same intent and within the policy, and mined; where the policy forbids it, it waits until the chain is cheaper.
func TestI6WhenTheBaseFeeLeaps(t *testing.T) {
	const n = 10 // transactions
	for name, c := range map[string]struct {
		ceiling int64 // times the base fee before
		want    string
	}{
		"within the policy": {ceiling: 30, want: transaction.EventRaised}, "above it": {ceiling: 5, want: transaction.EventUnpayable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := still(t)
			before := big.NewInt(1e9)
			check(t, node.NextBaseFee(t.Context(), before))
			check(t, node.Mine(t.Context(), 1))
			ceiling := new(big.Int).Mul(before, big.NewInt(c.ceiling))
			r := newRoom(t, node, setup{policy: chain.FeePolicy{Patience: 5, Ceiling: ceiling}})
			steps := r.send(t, n, nil)
			r.pooled(t, steps)
			leap := new(big.Int).Mul(before, big.NewInt(10))
			high := func() {
				check(t, node.NextBaseFee(t.Context(), leap))
				r.mine(t, 1)
			}
			if c.want == transaction.EventUnpayable {
				r.untilTold(t, steps[:1], c.want, high)
				r.confirmed(t, steps, r.growing(t)) // each empty block is cheaper by an eighth
			} else {
				r.confirmed(t, steps, high)
			}
			for i, tx := range r.check(t) {
				a, _ := tx.Ended()
				if told := words(r.events(t, tx)); !slices.Contains(told, c.want) || a.Kind != transaction.Raise || a.Tx.Fee.Cmp(ceiling) > 0 {
					t.Errorf("transaction %d was mined as %s for %s, with a limit of %s: events %v", i, a.Kind, a.Tx.Fee, ceiling, words(r.events(t, tx)))
				}
			}
		})
	}
}

// untilTold lets the chain go on until the steps have an event.
func (r *room) untilTold(t *testing.T, steps []signer.Step, what string, next func()) {
	t.Helper()
	eventually(t, "the event "+what, func() bool {
		next()
		for _, tx := range r.find(t, steps) {
			told := words(r.events(t, tx))
			if len(told) == 0 || told[len(told)-1] != what {
				return false
			}
		}
		return true
	}, func() string { return r.open(t, steps) })
}

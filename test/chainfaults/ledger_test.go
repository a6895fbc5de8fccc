//go:build nodes

package chainfaults

import (
	"context"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// readLedger reads what the chain shows of the addresses, none of which has anything in the node's pool.
func readLedger(t *testing.T, node *nodes.Node, addresses ...string) stage.Ledger {
	t.Helper()
	l, err := stage.ReadLedger(t.Context(), node.URL(), addresses...)
	check(t, err)
	for from, entries := range l {
		var pending hexutil.Uint64
		check(t, node.Call(t.Context(), &pending, "eth_getTransactionCount", from, "pending"))
		if int(pending) != len(entries) {
			t.Errorf("the blocks hold %d transactions of %s, and the node still has %d more", len(entries), from, int(pending)-len(entries))
		}
	}
	return l
}

// receipt tells what became of a mined transaction, and in which block.
func receipt(ctx context.Context, node *nodes.Node, e stage.Entry) (block common.Hash, success bool, err error) {
	var r struct {
		Status      hexutil.Uint64
		BlockNumber hexutil.Uint64
		BlockHash   common.Hash
	}
	if err = node.Call(ctx, &r, "eth_getTransactionReceipt", e.Hash()); err == nil && uint64(r.BlockNumber) != e.Block {
		err = fmt.Errorf("%s is in block %d, and its receipt says %d", e.Hash(), e.Block, uint64(r.BlockNumber))
	}
	return r.BlockHash, r.Status == 1, err
}

// besides is Besides, of which the test fails.
func besides(t *testing.T, l stage.Ledger, wire *stage.Wire) (others int) {
	t.Helper()
	others, wrong := l.Besides(wire.Broadcasts())
	for _, err := range wrong {
		t.Error(err)
	}
	return others
}

// check holds all that the room has decided against the chain: each under its nonce, with the status, block and outcome that are
// recorded, doing what was decided or nothing; and what went over the wire. It gives what is recorded.
func (r *room) check(t *testing.T) []transaction.Transaction {
	t.Helper()
	address := common.HexToAddress(r.k.Address)
	l := readLedger(t, r.node, r.k.Address)
	entries := l[address]
	all := r.find(t, r.steps)
	if len(entries) != len(all) {
		t.Errorf("%d transactions were decided, the chain shows %d", len(all), len(entries))
	}
	for i, tx := range all {
		if tx.Nonce != uint64(i) || i >= len(entries) {
			t.Errorf("transaction %d was decided with nonce %d and is %s (I12)", i, tx.Nonce, tx.Status())
			continue
		}
		e := entries[i]
		a, mined := tx.Ended()
		f := tx.Fate
		block, success, err := receipt(t.Context(), r.node, e)
		check(t, err)
		if !mined || f.Status != transaction.Confirmed || a.Signed.Hash != e.Hash().Hex() || f.Block != e.Block || f.Hash != block.Hex() || f.Success != success {
			t.Errorf("transaction %d is recorded as %+v of %s, and the chain shows %s in block %d (%s), success %v (I14)", i, f, a.Signed.Hash, e.Hash(), e.Block, block, success)
		}
		paid := *e.To() == common.HexToAddress(sink) && e.Value().Cmp(big.NewInt(r.values[i])) == 0
		if paid == (a.Kind == transaction.NoOp) || !paid && !stage.Idle(e.Transaction, address) {
			t.Errorf("transaction %d, a %s, pays %s to %s; %d was decided (I6)", i, a.Kind, e.Value(), e.To(), r.values[i])
		}
	}
	besides(t, l, r.wire)
	return all
}

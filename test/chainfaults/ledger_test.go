//go:build nodes

package chainfaults

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// entry is a mined transaction, as the node shows it.
type entry struct {
	tx      *types.Transaction
	block   uint64
	hash    common.Hash // of the block
	success bool
}

// ledger is what the chain shows of addresses: by address, the transactions that it has sent, in order.
type ledger map[common.Address][]entry

// readLedger reads every block of the node, and the receipt of each transaction that one of the addresses has sent. Their
// nonces have neither gap nor second, or the test fails (I6, I12).
func readLedger(t *testing.T, node *nodes.Node, addresses ...string) ledger {
	t.Helper()
	l := ledger{}
	for _, a := range addresses {
		l[common.HexToAddress(a)] = nil
	}
	check(t, stage.Walk(t.Context(), node.URL(), func(block uint64, tx *types.Transaction, from common.Address) error {
		entries, ours := l[from]
		if !ours {
			return nil
		}
		if tx.Nonce() != uint64(len(entries)) {
			return fmt.Errorf("%s has nonce %d after %d others", from, tx.Nonce(), len(entries))
		}
		l[from] = append(entries, entry{tx: tx, block: block})
		return nil
	}))
	for from, entries := range l {
		for i := range entries {
			entries[i].read(t, node)
		}
		var pending hexutil.Uint64
		check(t, node.Call(t.Context(), &pending, "eth_getTransactionCount", from, "pending"))
		if int(pending) != len(entries) {
			t.Errorf("the blocks hold %d transactions of %s, and the node still has %d more", len(entries), from, int(pending)-len(entries))
		}
	}
	return l
}

// read asks for the receipt.
func (e *entry) read(t *testing.T, node *nodes.Node) {
	t.Helper()
	var receipt struct {
		Status      hexutil.Uint64
		BlockNumber hexutil.Uint64
		BlockHash   common.Hash
	}
	check(t, node.Call(t.Context(), &receipt, "eth_getTransactionReceipt", e.tx.Hash()))
	if uint64(receipt.BlockNumber) != e.block {
		t.Errorf("%s is in block %d, and its receipt says %d", e.tx.Hash(), e.block, uint64(receipt.BlockNumber))
	}
	e.hash, e.success = receipt.BlockHash, receipt.Status == 1
}

// checkWire holds what was sent against what was mined: what no block holds is an attempt at a nonce that one holds, with the
// same to, value and data, or one of the two is a no-op (I6). It counts these. What was mined was sent, or the test has missed it.
func (l ledger) checkWire(t *testing.T, wire *stage.Wire) (others int) {
	t.Helper()
	sent, mined := wire.Broadcasts(), stage.Ledger{}
	for from, entries := range l {
		for _, e := range entries {
			mined[from] = append(mined[from], e.tx)
			if sent[e.tx.Hash().Hex()] == nil {
				t.Errorf("%s, nonce %d of %s, is in block %d and was never sent", e.tx.Hash(), e.tx.Nonce(), from, e.block)
			}
		}
	}
	others, wrong := mined.Besides(sent)
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
		if !mined || f.Status != transaction.Confirmed || a.Signed.Hash != e.tx.Hash().Hex() || f.Block != e.block || f.Hash != e.hash.Hex() || f.Success != e.success {
			t.Errorf("transaction %d is recorded as %+v of %s, and the chain shows %s in block %d (%s), success %v (I14)", i, f, a.Signed.Hash, e.tx.Hash(), e.block, e.hash, e.success)
		}
		paid := *e.tx.To() == common.HexToAddress(sink) && e.tx.Value().Cmp(big.NewInt(r.values[i])) == 0
		if paid == (a.Kind == transaction.NoOp) || !paid && !stage.Idle(e.tx, address) {
			t.Errorf("transaction %d, a %s, pays %s to %s; %d was decided (I6)", i, a.Kind, e.tx.Value(), e.tx.To(), r.values[i])
		}
	}
	l.checkWire(t, r.wire)
	return all
}

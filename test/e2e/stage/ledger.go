package stage

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Ledger is what a chain shows of some addresses: the transactions that each has sent, in the order of their nonces.
type Ledger map[common.Address][]*types.Transaction

// ReadLedger walks the chain at an address. A nonce that is missing or there twice is an error (I6, I12).
func ReadLedger(ctx context.Context, url string, addresses ...string) (Ledger, error) {
	l := Ledger{}
	for _, a := range addresses {
		l[common.HexToAddress(a)] = nil
	}
	return l, Walk(ctx, url, func(_ uint64, tx *types.Transaction, from common.Address) error {
		sent, ours := l[from]
		if !ours {
			return nil
		}
		if tx.Nonce() != uint64(len(sent)) {
			return fmt.Errorf("%s has nonce %d after %d others (I6, I12)", from, tx.Nonce(), len(sent))
		}
		l[from] = append(sent, tx)
		return nil
	})
}

// Mined is how many transactions there are.
func (l Ledger) Mined() (n int) {
	for _, sent := range l {
		n += len(sent)
	}
	return n
}

// Paid are the transactions by whom they pay, but for those that do nothing: these fill a nonce that was given up.
func (l Ledger) Paid() map[common.Address][]*types.Transaction {
	paid := map[common.Address][]*types.Transaction{}
	for from, sent := range l {
		for _, tx := range sent {
			if !Idle(tx, from) {
				paid[*tx.To()] = append(paid[*tx.To()], tx)
			}
		}
	}
	return paid
}

// Besides holds what was ever broadcast against what was mined: what no block holds has its nonce, to, value and data in common with
// what one holds, or one of the two does nothing (I6, I15). It counts these, and tells everything else.
func (l Ledger) Besides(broadcast map[string]*types.Transaction) (raised int, wrong []error) {
	for hash, tx := range broadcast {
		from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
		mined := l[from]
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s was broadcast, and nobody can have signed it: %w", hash, err))
		case tx.Nonce() >= uint64(len(mined)):
			wrong = append(wrong, fmt.Errorf("%s, nonce %d of %s, was broadcast, and no block has its nonce: signed besides what was decided (I13, I15)", hash, tx.Nonce(), from))
		case mined[tx.Nonce()].Hash() == tx.Hash():
		case sameIntent(mined[tx.Nonce()], tx) || Idle(mined[tx.Nonce()], from) || Idle(tx, from):
			raised++
		default:
			wrong = append(wrong, fmt.Errorf("%s, nonce %d of %s, was broadcast besides %s, which was mined and does something else (I6)", hash, tx.Nonce(), from, mined[tx.Nonce()].Hash()))
		}
	}
	return raised, wrong
}

func sameIntent(a, b *types.Transaction) bool {
	return *a.To() == *b.To() && a.Value().Cmp(b.Value()) == 0 && bytes.Equal(a.Data(), b.Data())
}

// Idle says whether a transaction does nothing.
func Idle(tx *types.Transaction, from common.Address) bool {
	return *tx.To() == from && tx.Value().Sign() == 0 && len(tx.Data()) == 0
}

package stage

import (
	"bytes"
	"context"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

// Ledger is what a chain shows of some addresses: the transactions that each has sent, in the order of their nonces.
type Ledger map[common.Address][]Entry

// Entry is a mined transaction.
type Entry struct {
	*types.Transaction
	Block uint64
}

// ReadLedger walks the chain at a URL, from the first block to the newest. A nonce that is missing or there twice is an error (I6, I12).
func ReadLedger(ctx context.Context, url string, addresses ...string) (Ledger, error) {
	view, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	head, err := view.BlockNumber(ctx)
	if err != nil {
		return nil, err
	}
	l := Ledger{}
	for _, a := range addresses {
		l[common.HexToAddress(a)] = nil
	}
	for number := range head + 1 {
		block, err := view.BlockByNumber(ctx, new(big.Int).SetUint64(number))
		if err != nil {
			return nil, fmt.Errorf("read block %d: %w", number, err)
		}
		for _, tx := range block.Transactions() {
			if err := l.enter(Entry{tx, number}); err != nil {
				return nil, fmt.Errorf("block %d, transaction %s: %w", number, tx.Hash(), err)
			}
		}
	}
	return l, nil
}

func (l Ledger) enter(e Entry) error {
	from, err := sender(e.Transaction)
	if err != nil {
		return err
	}
	sent, ours := l[from]
	if !ours {
		return nil
	}
	if e.Nonce() != uint64(len(sent)) {
		return fmt.Errorf("%s has nonce %d after %d others (I6, I12)", from, e.Nonce(), len(sent))
	}
	l[from] = append(sent, e)
	return nil
}

func sender(tx *types.Transaction) (common.Address, error) {
	return types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
}

// Mined is how many transactions there are.
func (l Ledger) Mined() (n int) {
	for _, sent := range l {
		n += len(sent)
	}
	return n
}

// Paid are the transactions by whom they pay, but for those that do nothing: these fill a nonce that was given up.
func (l Ledger) Paid() map[common.Address][]Entry {
	paid := map[common.Address][]Entry{}
	for from, sent := range l {
		for _, e := range sent {
			if !Idle(e.Transaction, from) {
				paid[*e.To()] = append(paid[*e.To()], e)
			}
		}
	}
	return paid
}

// Besides holds what was ever broadcast against what was mined, which was broadcast too. What no block holds has its nonce, to, value and
// data in common with what one holds, and another price; or one of the two does nothing (I6, I13, I15). It counts these, and tells
// everything else.
func (l Ledger) Besides(broadcast map[string]*types.Transaction) (raised int, wrong []error) {
	for from, sent := range l {
		for _, e := range sent {
			if broadcast[e.Hash().Hex()] == nil {
				wrong = append(wrong, fmt.Errorf("%s, nonce %d of %s, is in block %d and was never sent", e.Hash(), e.Nonce(), from, e.Block))
			}
		}
	}
	for hash, tx := range broadcast {
		from, err := sender(tx)
		mined := l[from]
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s was broadcast, and nobody can have signed it: %w", hash, err))
		case tx.Nonce() >= uint64(len(mined)):
			wrong = append(wrong, fmt.Errorf("%s, nonce %d of %s, was broadcast, and no block has its nonce: signed besides what was decided (I13, I15)", hash, tx.Nonce(), from))
		case mined[tx.Nonce()].Hash() == tx.Hash():
		case raises(mined[tx.Nonce()].Transaction, tx) || Idle(mined[tx.Nonce()].Transaction, from) || Idle(tx, from):
			raised++
		default:
			wrong = append(wrong, fmt.Errorf("%s, nonce %d of %s, was broadcast besides %s, which was mined and does something else (I6)", hash, tx.Nonce(), from, mined[tx.Nonce()].Hash()))
		}
	}
	return raised, wrong
}

// raises says whether one of the two was signed to do what the other does, at another price.
func raises(a, b *types.Transaction) bool {
	return *a.To() == *b.To() && a.Value().Cmp(b.Value()) == 0 && bytes.Equal(a.Data(), b.Data()) && a.GasFeeCap().Cmp(b.GasFeeCap()) != 0
}

// Idle says whether a transaction does nothing.
func Idle(tx *types.Transaction, from common.Address) bool {
	return *tx.To() == from && tx.Value().Sign() == 0 && len(tx.Data()) == 0
}

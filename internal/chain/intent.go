package chain

import (
	"bytes"
	"math/big"
)

// SameIntent says whether two transactions do the same with a nonce: sender, to, value and data are equal (I6).
func (tx Unsigned) SameIntent(other Unsigned) bool {
	return tx.Chain == other.Chain && tx.From == other.From && tx.To == other.To &&
		orZero(tx.Value).Cmp(orZero(other.Value)) == 0 && bytes.Equal(tx.Data, other.Data)
}

// Idle says whether the transaction does nothing: no value and no data, to its own sender.
func (tx Unsigned) Idle() bool {
	return tx.To == tx.From && orZero(tx.Value).Sign() == 0 && len(tx.Data) == 0
}

// Outbids says whether nodes take a transaction with this price in the place of one with the earlier price: each of its
// fields is at least what Bump asks.
func (p Price) Outbids(earlier Price) bool {
	least := Bump(earlier, p.Legacy)
	if p.Fee == nil || p.Fee.Cmp(least.Fee) < 0 {
		return false
	}
	return p.Legacy || orZero(p.Tip).Cmp(least.Tip) >= 0
}

func orZero(amount *big.Int) *big.Int {
	if amount == nil {
		return new(big.Int)
	}
	return amount
}

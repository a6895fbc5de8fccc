package chaintest

import (
	"math/big"
	"testing"

	"github.com/avalhq/aval/internal/chain"
)

// replaces sends a transaction that waits, as the nonce before it is missing, and another one in its place. The node's pool is
// the judge of what a replacement has to offer; some take less than a tenth more.
func replaces(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	txs := s.build(t, []chain.Call{
		{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}, {From: from.Address(), To: to.Address(), Value: big.NewInt(2)},
	})
	quote, err := s.Market.Quote(t.Context(), 90)
	wants(t, err, "")
	waiting := s.sign(t, from, txs[1], 1)
	wants(t, s.Network.Send(t.Context(), [][]byte{waiting.Raw})[0], "")
	quote.Price = txs[1].Price() // the chain asks for no more: the least raise
	raised, err := chain.FeePolicy{}.Raise(txs[1].Price(), quote, txs[1].Gas)
	wants(t, err, "")
	replacement := s.sign(t, from, txs[1].Priced(raised), 1)
	wants(t, s.Network.Send(t.Context(), [][]byte{replacement.Raw})[0], "")
	wants(t, s.Network.Send(t.Context(), [][]byte{s.sign(t, from, txs[0], 0).Raw})[0], "")
	if status := s.confirmed(t, replacement.Hash); !status.Success {
		t.Errorf("the replacement is %+v", status)
	}
	if got := s.account(t, to.Address()).Balance; got.Int64() != 3 {
		t.Errorf("what was replaced and what was not moved %s together, not 3", got)
	}
}

func legacy(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(5)}})[0]
	signed := s.sign(t, from, tx.Priced(chain.Price{Fee: tx.Fee, Legacy: true}), 0)
	wants(t, s.Network.Send(t.Context(), [][]byte{signed.Raw})[0], "")
	if status := s.confirmed(t, signed.Hash); !status.Success || status.Fee.Cmp(new(big.Int).Mul(tx.Fee, new(big.Int).SetUint64(status.GasUsed))) != 0 {
		t.Errorf("a transaction with the gas price %s is %+v", tx.Fee, status)
	}
}

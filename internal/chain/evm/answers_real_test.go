//go:build nodes

package evm

import (
	"context"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// TestRealNodesSayWhatTheTableSays sends what geth and anvil refuse.
func TestRealNodesSayWhatTheTableSays(t *testing.T) {
	for name, how := range map[string]func(context.Context, nodes.Options) (*nodes.Node, error){"geth": nodes.Geth, "anvil": nodes.Anvil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := how(t.Context(), nodes.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = n.Close() })
			key, err := crypto.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			from := crypto.PubkeyToAddress(key.PublicKey)
			if err := n.Fund(t.Context(), from.Hex(), new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)); err != nil {
				t.Fatal(err)
			}
			for _, try := range []struct {
				what   string
				change func(*types.DynamicFeeTx)
				want   class
			}{
				{"the first", func(*types.DynamicFeeTx) {}, none},
				{"the same again", func(*types.DynamicFeeTx) {}, alreadyKnown},
				{"another with its nonce", func(tx *types.DynamicFeeTx) { tx.Value = big.NewInt(2) }, nonceTaken},
				{"too little gas", func(tx *types.DynamicFeeTx) { tx.Nonce, tx.Gas = 1, 20_999 }, gasTooLow},
				{"more gas than a block has", func(tx *types.DynamicFeeTx) { tx.Nonce, tx.Gas = 1, 100_000_000 }, gasTooHigh},
				{"more than it has", func(tx *types.DynamicFeeTx) { tx.Nonce, tx.Value = 1, big.NewInt(2e18) }, insufficientFunds},
				{"a tip above the fee", func(tx *types.DynamicFeeTx) { tx.Nonce, tx.GasTipCap = 1, big.NewInt(200e9) }, refused},
			} {
				tx := &types.DynamicFeeTx{
					ChainID: new(big.Int).SetUint64(n.ChainID()), Gas: 21_000, GasFeeCap: big.NewInt(5e9), GasTipCap: big.NewInt(1e9), To: &from, Value: big.NewInt(1),
				}
				try.change(tx)
				raw, err := types.MustSignNewTx(key, types.LatestSignerForChainID(tx.ChainID), tx).MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				said := n.Call(t.Context(), nil, "eth_sendRawTransaction", hexutil.Bytes(raw))
				if got := classify(said); got != try.want {
					t.Errorf("%s is understood as %q, not %q: %v", try.what, got, try.want, said)
				}
			}
			if err := n.Call(t.Context(), nil, "eth_noSuchMethod"); classify(err) != unsupported {
				t.Errorf("a method that does not exist: %v", err)
			}
		})
	}
}

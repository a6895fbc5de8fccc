//go:build nodes

package evm_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// TestAChainWithoutBaseFeeGetsLegacyTransactions: found out, built, signed, mined.
func TestAChainWithoutBaseFeeGetsLegacyTransactions(t *testing.T) {
	n := startNode(t, nodes.Anvil, nodes.Options{BlockTime: -1, Arguments: []string{"--hardfork", "berlin"}})
	network := dial(t, evm.Config{URLs: []string{n.URL()}, ChainID: n.ChainID()})
	by := fundedOn(t, n, 1e18)
	txs, errs := network.Build(t.Context(), []chain.Call{{From: by.Address(), To: checksummed[4], Value: big.NewInt(1)}})
	must(t, errs[0])
	if tx := txs[0]; !tx.Legacy || tx.Tip != nil || tx.Fee.Sign() <= 0 {
		t.Fatalf("it is built as %+v", tx)
	}
	if status := minedOn(t, network, by, txs[0], 0); !status.Success || status.Fee.Cmp(new(big.Int).Mul(txs[0].Fee, big.NewInt(21000))) != 0 {
		t.Errorf("it is mined as %+v", status)
	}
}

// TestABaseFeeTimesTenIsFollowed: what waits is too cheap, and one Raise to the new quote is mined, within the policy.
func TestABaseFeeTimesTenIsFollowed(t *testing.T) {
	n := startNode(t, nodes.Anvil, nodes.Options{BlockTime: time.Hour})
	network := dial(t, evm.Config{URLs: []string{n.URL()}, ChainID: n.ChainID(), FeeAge: time.Nanosecond})
	by := newKey(t)
	must(t, n.Call(t.Context(), nil, "anvil_setBalance", by.Address(), (*hexutil.Big)(big.NewInt(1e18))))
	must(t, n.Call(t.Context(), nil, "evm_mine"))
	before, err := network.Quote(t.Context(), 50)
	must(t, err)
	txs, errs := network.Build(t.Context(), []chain.Call{{From: by.Address(), To: checksummed[4], Value: big.NewInt(1)}})
	must(t, errs[0])
	first := sendOn(t, network, by, txs[0], 0)
	base := new(big.Int).Mul(before.Least, big.NewInt(10))
	must(t, n.Call(t.Context(), nil, "anvil_setNextBlockBaseFeePerGas", (*hexutil.Big)(base)))
	must(t, n.Call(t.Context(), nil, "evm_mine"))
	statuses, err := network.Status(t.Context(), []string{first})
	must(t, err)
	if statuses[0].State == chain.Mined { // anvil puts it out of its pool
		t.Fatal("with ten times the base fee it is mined")
	}
	now, err := network.Quote(t.Context(), 50)
	must(t, err)
	tight := chain.FeePolicy{Budget: new(big.Int).Mul(txs[0].Fee, big.NewInt(21000))}
	if _, err := tight.Raise(txs[0].Price(), now, 21000); !is(err, "fee-budget-exceeded") {
		t.Errorf("beyond the budget: %v", err)
	}
	price, err := chain.FeePolicy{Ceiling: new(big.Int).Mul(now.Fee, big.NewInt(2))}.Raise(txs[0].Price(), now, 21000)
	must(t, err)
	second := sendOn(t, network, by, txs[0].Priced(price), 0)
	must(t, n.Call(t.Context(), nil, "evm_mine"))
	statuses, err = network.Status(t.Context(), []string{first, second})
	must(t, err)
	if statuses[0].State != chain.Unknown || statuses[1].State != chain.Mined || !statuses[1].Success {
		t.Errorf("after the raise the first is %s and the second %s", statuses[0].State, statuses[1].State)
	}
}

// TestRealNodesTellRevertsAlike: the same words of both, before signing and after mining.
func TestRealNodesTellRevertsAlike(t *testing.T) {
	for name, how := range map[string]func(context.Context, nodes.Options) (*nodes.Node, error){"geth": nodes.Geth, "anvil": nodes.Anvil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, how, nodes.Options{})
			network := dial(t, evm.Config{URLs: []string{n.URL()}, ChainID: n.ChainID()})
			by := fundedOn(t, n, 1e18)
			for nonce, test := range []struct {
				data []byte
				want string
			}{
				{raw(t, "Error(string)", "not today"), `the contract says "not today"`},
				{raw(t, "Panic(uint256)", big.NewInt(0x12)), "the contract panicked: division or modulo by zero (Panic 0x12)"},
				{raw(t, "EnforcedPause()"), "the contract says EnforcedPause()"},
				{raw(t, "Nope(uint256)", big.NewInt(5)), "the contract's error 0x63a2a81f, which no ABI here declares"},
				{nil, "revert"},
			} {
				contract := deployOn(t, n, creation(revertingWith(test.data)))
				_, errs := network.Build(t.Context(), []chain.Call{{From: by.Address(), To: contract}})
				if !is(errs[0], "execution-reverted") || !strings.Contains(errs[0].Error(), test.want) {
					t.Errorf("estimated: %v, not %q", errs[0], test.want)
				}
				quote, err := network.Quote(t.Context(), 50)
				must(t, err)
				tx := chain.Unsigned{Chain: network.ID(), From: by.Address(), To: contract, Value: new(big.Int), Gas: 100_000}.Priced(quote.Price)
				reason, err := network.Replay(t.Context(), tx, minedOn(t, network, by, tx, uint64(nonce)))
				if err != nil || !strings.Contains(reason, test.want) {
					t.Errorf("mined: %q (%v), not %q", reason, err, test.want)
				}
			}
		})
	}
}

func sendOn(t *testing.T, network *evm.Network, by account, tx chain.Unsigned, nonce uint64) string {
	t.Helper()
	digest, err := network.Codec().Digest(tx, nonce)
	must(t, err)
	signed, err := network.Codec().Assemble(tx, nonce, signature(t, by, digest))
	must(t, err)
	must(t, errors.Join(network.Send(t.Context(), [][]byte{signed.Raw})...))
	return signed.Hash
}

func minedOn(t *testing.T, network *evm.Network, by account, tx chain.Unsigned, nonce uint64) chain.Status {
	t.Helper()
	hash := sendOn(t, network, by, tx, nonce)
	deadline := time.After(20 * time.Second)
	for {
		statuses, err := network.Status(t.Context(), []string{hash})
		must(t, err)
		if statuses[0].State == chain.Mined {
			return statuses[0]
		}
		select {
		case <-deadline:
			t.Fatal("it is not mined")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

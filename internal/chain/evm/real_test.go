//go:build nodes

package evm_test

import (
	"context"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain/chaintest"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

func TestConformanceOfRealNodes(t *testing.T) {
	for name, how := range map[string]func(context.Context, nodes.Options) (*nodes.Node, error){"geth": nodes.Geth, "anvil": nodes.Anvil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, how, nodes.Options{})
			contract := deployOn(t, n, creation(revertingCode()))
			chaintest.Run(t, func(t *testing.T) chaintest.Subject {
				network := dial(t, evm.Config{URLs: []string{n.WebSocketURL()}, ChainID: n.ChainID()})
				return chaintest.Subject{
					Network: network, Market: network, Replayer: network, Follower: network, Codec: network.Codec(),
					Head:      func(t *testing.T) uint64 { return headOf(t, n) },
					Account:   func(t *testing.T, wei int64) chaintest.Account { return fundedOn(t, n, wei) },
					Reverting: func(*testing.T) (string, []byte) { return contract, nil },
					Mismatched: func(t *testing.T) error {
						_, err := evm.Dial(t.Context(), evm.Config{URLs: []string{n.URL()}, ChainID: n.ChainID() + 1})
						return err
					},
					Unreachable: func(t *testing.T) error {
						_, err := evm.Dial(t.Context(), evm.Config{URLs: []string{"http://127.0.0.1:1"}, ChainID: n.ChainID()})
						return err
					},
				}
			})
		})
	}
}

func startNode(t *testing.T, how func(context.Context, nodes.Options) (*nodes.Node, error), options nodes.Options) *nodes.Node {
	t.Helper()
	n, err := how(t.Context(), options)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

func headOf(t *testing.T, n *nodes.Node) uint64 {
	t.Helper()
	var head hexutil.Uint64
	must(t, n.Call(t.Context(), &head, "eth_blockNumber"))
	return uint64(head)
}

func fundedOn(t *testing.T, n *nodes.Node, wei int64) account {
	t.Helper()
	a := newKey(t)
	if wei > 0 {
		must(t, n.Fund(t.Context(), a.Address(), big.NewInt(wei)))
	}
	return a
}

// deployOn makes a contract from the node's own account.
func deployOn(t *testing.T, n *nodes.Node, code []byte) string {
	t.Helper()
	var accounts []common.Address
	must(t, n.Call(t.Context(), &accounts, "eth_accounts"))
	var hash common.Hash
	must(t, n.Call(t.Context(), &hash, "eth_sendTransaction", map[string]any{"from": accounts[0], "data": hexutil.Bytes(code)}))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var receipt *struct {
			Contract common.Address `json:"contractAddress"`
		}
		err := n.Call(t.Context(), &receipt, "eth_getTransactionReceipt", hash)
		if err == nil && receipt != nil {
			return receipt.Contract.Hex()
		}
		if time.Now().After(deadline) { // geth refuses to answer while it is indexing
			t.Fatalf("the contract of %s is not there: %v", hash, err)
		}
	}
}

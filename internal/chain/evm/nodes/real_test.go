//go:build nodes

package nodes_test

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/problem"
)

const anybody = "0x00000000000000000000000000000000000000AA"

type starter func(context.Context, nodes.Options) (*nodes.Node, error)

func start(t *testing.T, how starter, options nodes.Options) *nodes.Node {
	t.Helper()
	n, err := how(t.Context(), options)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func head(t *testing.T, n *nodes.Node) uint64 {
	t.Helper()
	var number hexutil.Uint64
	must(t, n.Call(t.Context(), &number, "eth_blockNumber"))
	return uint64(number)
}

func TestBothNodesMineAndPay(t *testing.T) {
	for name, how := range map[string]starter{"geth": nodes.Geth, "anvil": nodes.Anvil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, how, nodes.Options{})
			must(t, n.Fund(t.Context(), anybody, big.NewInt(42)))
			var balance hexutil.Big
			must(t, n.Call(t.Context(), &balance, "eth_getBalance", anybody, "latest"))
			if balance.ToInt().Int64() != 42 {
				t.Errorf("the balance is %s, not 42", balance.ToInt())
			}
			var block struct {
				GasLimit hexutil.Uint64 `json:"gasLimit"`
			}
			must(t, n.Call(t.Context(), &block, "eth_getBlockByNumber", "latest", false))
			if block.GasLimit < 59_000_000 || block.GasLimit > 60_000_000 {
				t.Errorf("the gas limit of a block is %d", block.GasLimit)
			}
			first := head(t, n)
			for deadline := time.Now().Add(20 * time.Second); head(t, n) < first+2; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no blocks are made")
				}
			}
		})
	}
}

func TestANodeStartsAgainWithWhatItHas(t *testing.T) {
	n := start(t, nodes.Anvil, nodes.Options{BlockTime: -1})
	must(t, n.Fund(t.Context(), anybody, big.NewInt(42)))
	must(t, n.Mine(t.Context(), 3))
	before := n.URL()
	must(t, n.Stop())
	if err := n.Call(t.Context(), nil, "eth_chainId"); err == nil {
		t.Error("a stopped node answers")
	}
	must(t, n.Start(t.Context()))
	if n.URL() != before || head(t, n) != 3 {
		t.Errorf("it is at %s with head %d, was at %s with 3", n.URL(), head(t, n), before)
	}
}

func TestAnvilsChainAndPoolObey(t *testing.T) {
	n := start(t, nodes.Anvil, nodes.Options{BlockTime: -1})
	must(t, n.Mining(t.Context(), false))
	must(t, n.Mine(t.Context(), 5))
	var accounts []common.Address
	must(t, n.Call(t.Context(), &accounts, "eth_accounts"))
	pay := func() (hash common.Hash) {
		must(t, n.Call(t.Context(), &hash, "eth_sendTransaction", map[string]any{"from": accounts[0], "to": anybody, "value": "0x1"}))
		return hash
	}
	receipt := func(hash common.Hash) (found *struct{}) {
		must(t, n.Call(t.Context(), &found, "eth_getTransactionReceipt", hash))
		return found
	}
	dropped := pay()
	must(t, n.DropAll(t.Context()))
	must(t, n.Mine(t.Context(), 1))
	if receipt(dropped) != nil {
		t.Error("a transaction that was dropped is mined")
	}
	snapshot, err := n.Snapshot(t.Context())
	must(t, err)
	mined := pay()
	must(t, n.Mine(t.Context(), 2))
	if receipt(mined) == nil {
		t.Fatal("a transaction is not mined")
	}
	height := head(t, n)
	must(t, n.Reorg(t.Context(), 2))
	if receipt(mined) != nil || head(t, n) != height {
		t.Errorf("after a reorganisation of 2 blocks the head is %d, was %d, and the receipt %v", head(t, n), height, receipt(mined))
	}
	must(t, n.Revert(t.Context(), snapshot))
	if head(t, n) != height-2 {
		t.Errorf("after going back the head is %d, not %d", head(t, n), height-2)
	}
	must(t, n.NextBaseFee(t.Context(), big.NewInt(77_000_000_000)))
	must(t, n.Mine(t.Context(), 1))
	var block struct {
		BaseFee *hexutil.Big `json:"baseFeePerGas"`
	}
	must(t, n.Call(t.Context(), &block, "eth_getBlockByNumber", "latest", false))
	if block.BaseFee.ToInt().Int64() != 77_000_000_000 {
		t.Errorf("the base fee is %s", block.BaseFee.ToInt())
	}
}

// TestWorkEndsWithItsNode, and says why; work that has stopped is not concerned.
func TestWorkEndsWithItsNode(t *testing.T) {
	n := start(t, nodes.Geth, nodes.Options{})
	over, stop := n.While(t.Context())
	stop()
	work, stop := n.While(t.Context())
	defer stop()
	must(t, n.Kill())
	<-work.Done()
	if cause := context.Cause(work); problem.From(cause).Code != "node-failed" {
		t.Errorf("work that needs the node ended with %v", cause)
	}
	if cause := context.Cause(over); !errors.Is(cause, context.Canceled) {
		t.Errorf("work that was over ended with %v", cause)
	}
}

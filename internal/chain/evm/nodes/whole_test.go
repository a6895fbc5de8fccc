//go:build nodes

package nodes_test

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// TestAReorganisationIsWhole: however busily blocks are made, what anvil's state counts as spent is what its blocks hold. A block
// made in the middle of a reorganisation would leave nonces spent by transactions that no block has.
func TestAReorganisationIsWhole(t *testing.T) {
	n := start(t, nodes.Anvil, nodes.Options{BlockTime: 5 * time.Millisecond})
	var accounts []common.Address
	must(t, n.Call(t.Context(), &accounts, "eth_accounts"))
	from := accounts[0]
	must(t, n.Mine(t.Context(), 15))
	for round := range 150 {
		for range 3 { // what a reorganisation has made wrong is refused
			_ = n.Call(t.Context(), nil, "eth_sendTransaction", map[string]any{"from": from, "to": anybody, "value": "0x1"})
		}
		must(t, n.Reorg(t.Context(), uint64(1+round%12)))
	}
	must(t, n.DropAll(t.Context()))
	must(t, n.Mine(t.Context(), 1))
	var held, spent hexutil.Uint64
	for number := range head(t, n) + 1 {
		var block struct {
			Transactions []struct {
				From common.Address `json:"from"`
			} `json:"transactions"`
		}
		must(t, n.Call(t.Context(), &block, "eth_getBlockByNumber", hexutil.Uint64(number), true))
		for _, tx := range block.Transactions {
			if tx.From == from {
				held++
			}
		}
	}
	must(t, n.Call(t.Context(), &spent, "eth_getTransactionCount", from, "latest"))
	if held != spent {
		t.Errorf("the chain has spent %d nonces of %s, and its blocks hold %d transactions", spent, from, held)
	}
}

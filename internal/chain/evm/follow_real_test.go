//go:build nodes

package evm_test

import (
	"context"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// TestGethTellsItsHeads: over WebSocket each head is told by the node, nobody polls. When geth was away and is there again, the net
// under it asks, and from then on the node tells again.
func TestGethTellsItsHeads(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.Geth, nodes.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := dial(t, evm.Config{URLs: []string{n.WebSocketURL()}, ChainID: n.ChainID(), Poll: time.Hour}).Heads(ctx)
	for first := <-told; <-told < first+3; { // the first is asked for, the others can only be told
		must(t, ctx.Err())
	}
	const poll = 2 * time.Second
	network := dial(t, evm.Config{URLs: []string{n.WebSocketURL()}, ChainID: n.ChainID(), Poll: poll, Timeout: time.Second})
	heads := network.Heads(ctx)
	<-heads
	must(t, n.Stop()) // killed so young, geth finds no way on from its first blocks
	must(t, n.Start(t.Context()))
	for last, quick := time.Now(), 0; quick < 3; { // blocks come each second: three in a row sooner than one is asked for
		<-heads
		must(t, ctx.Err())
		now := time.Now()
		if quick++; now.Sub(last) > poll-200*time.Millisecond {
			quick = 0
		}
		last = now
	}
}

// TestGethsOwnLimitOfBatches: a node that takes 20 requests at once is asked in parts from then on.
func TestGethsOwnLimitOfBatches(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.Geth, nodes.Options{Arguments: []string{"--rpc.batch-request-limit", "20"}})
	for name, url := range map[string]string{"http": n.URL(), "ws": n.WebSocketURL()} {
		network := dial(t, evm.Config{URLs: []string{url}, ChainID: n.ChainID()})
		addresses := make([]string, 300)
		for i := range addresses {
			addresses[i] = newKey(t).Address()
		}
		nonces, _, err := network.Nonces(t.Context(), addresses)
		if err != nil || len(nonces) != len(addresses) {
			t.Errorf("over %s: %d nonces, %v", name, len(nonces), err)
		}
	}
}

// TestTagsOfRealNodes: both nodes serve the tags, and Height tells what they say. anvil counts epochs of a length that is chosen: a
// block is safe one epoch below the head, final two below.
func TestTagsOfRealNodes(t *testing.T) {
	t.Parallel()
	heights := func(t *testing.T, n *nodes.Node) (head, safe, final uint64) {
		t.Helper()
		network := dial(t, evm.Config{URLs: []string{n.URL()}, ChainID: n.ChainID()})
		all := make([]uint64, 3)
		for i, tag := range []chain.Tag{chain.Latest, chain.Safe, chain.Finalized} {
			var err error
			all[i], err = network.Height(t.Context(), tag)
			must(t, err)
			var block struct {
				Number hexutil.Uint64 `json:"number"`
			}
			must(t, n.Call(t.Context(), &block, "eth_getBlockByNumber", string(tag), false))
			if tag != chain.Latest && uint64(block.Number) < all[i] {
				t.Errorf("the node's %s block is %d, and %d is told", tag, block.Number, all[i])
			}
		}
		return all[0], all[1], all[2]
	}
	const epoch = 3
	n := startNode(t, nodes.Anvil, nodes.Options{BlockTime: -1, Arguments: []string{"--slots-in-an-epoch", strconv.Itoa(epoch)}})
	must(t, n.Mine(t.Context(), 20))
	if head, safe, final := heights(t, n); head != 20 || safe != head-epoch || final != head-2*epoch {
		t.Errorf("of anvil at block %d, %d is safe and %d final", head, safe, final)
	}
	g := startNode(t, nodes.Geth, nodes.Options{BlockTime: -1}) // a block for each transaction
	for range 40 {
		must(t, g.Fund(t.Context(), checksummed[0], big.NewInt(1)))
	}
	if head, safe, final := heights(t, g); head < 40 || safe != head || final != head/32*32 { // its epochs have 32 blocks; a developer's node is sure of itself
		t.Errorf("of geth at block %d, %d is safe and %d final", head, safe, final)
	}
}

// TestI5GethTellsHeadersAlone: a geth that refuses its blocks is asked for the header of one, which is all that it may keep.
func TestI5GethTellsHeadersAlone(t *testing.T) {
	t.Parallel()
	g := startNode(t, nodes.Geth, nodes.Options{BlockTime: -1})
	must(t, g.Fund(t.Context(), checksummed[0], big.NewInt(1)))
	way := nodes.NewProxy(g.URL())
	t.Cleanup(way.Close)
	network := dial(t, evm.Config{URLs: []string{way.URL}, ChainID: g.ChainID()})
	way.Do(nodes.Faults{Pruned: true, Stateless: true, Bodiless: true})
	use := chain.Use{Address: checksummed[0], Hashes: []string{"0x" + strings.Repeat("0b", 32)}}
	for block, known := range map[uint64]bool{1: true, 1 << 40: false} {
		use.Seen = chain.Sighting{Hash: use.Hashes[0], Block: block}
		if got, err := network.Trace(t.Context(), use); err != nil || got.Known != known {
			t.Errorf("block %d: %+v, %v; known should be %t", block, got, err, known)
		}
	}
}

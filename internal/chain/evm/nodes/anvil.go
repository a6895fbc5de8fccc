package nodes

import (
	"context"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// What follows is anvil's alone.

// tick makes a block every BlockTime until the process ends. anvil's own clock (--block-time) makes blocks in the middle of a
// reorganisation: then the state counts transactions as spent that no block holds, and no node would ever mine them again.
func (n *Node) tick(client *rpc.Client, ended <-chan struct{}) {
	clock := time.NewTicker(n.options.BlockTime)
	defer clock.Stop()
	for {
		select {
		case <-ended:
			return
		case <-clock.C:
		}
		n.blocks.Lock()
		_ = client.Call(nil, "evm_mine") // a node that is stopped or killed makes none
		n.blocks.Unlock()
	}
}

// change is a call that makes blocks or takes them away: one at a time.
func (n *Node) change(ctx context.Context, result any, method string, args ...any) error {
	n.blocks.Lock()
	defer n.blocks.Unlock()
	return n.Call(ctx, result, method, args...)
}

// Mine makes so many blocks now.
func (n *Node) Mine(ctx context.Context, blocks uint64) error {
	return n.change(ctx, nil, "anvil_mine", hexutil.Uint64(blocks))
}

// Mining tells whether blocks are made as transactions arrive. Turned off, they wait for Mine.
func (n *Node) Mining(ctx context.Context, automatic bool) error {
	return n.Call(ctx, nil, "evm_setAutomine", automatic)
}

// Reorg replaces the newest blocks by as many empty ones. Their transactions are gone: they are not put back into the pool.
func (n *Node) Reorg(ctx context.Context, depth uint64) error {
	return n.change(ctx, nil, "anvil_reorg", depth, []any{})
}

// DropAll empties the pool of waiting transactions.
func (n *Node) DropAll(ctx context.Context) error {
	return n.Call(ctx, nil, "anvil_dropAllTransactions")
}

// NextBaseFee sets the base fee of the next block, in wei; those after it follow from it.
func (n *Node) NextBaseFee(ctx context.Context, wei *big.Int) error {
	return n.Call(ctx, nil, "anvil_setNextBlockBaseFeePerGas", (*hexutil.Big)(wei))
}

// Snapshot keeps the state of the chain; Revert with what it gives goes back to it, once.
func (n *Node) Snapshot(ctx context.Context) (id string, err error) {
	return id, n.change(ctx, &id, "evm_snapshot")
}

// Revert goes back to a snapshot: the blocks since then are gone.
func (n *Node) Revert(ctx context.Context, id string) error {
	return n.change(ctx, nil, "evm_revert", id)
}

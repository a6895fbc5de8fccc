package nodes

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// What follows is anvil's alone.

// Mine makes so many blocks now.
func (n *Node) Mine(ctx context.Context, blocks uint64) error {
	return n.Call(ctx, nil, "anvil_mine", hexutil.Uint64(blocks))
}

// Mining tells whether blocks are made as transactions arrive. Turned off, they wait for Mine.
func (n *Node) Mining(ctx context.Context, automatic bool) error {
	return n.Call(ctx, nil, "evm_setAutomine", automatic)
}

// Reorg replaces the newest blocks by as many empty ones. Their transactions are gone: they are not put back into the pool.
func (n *Node) Reorg(ctx context.Context, depth uint64) error {
	return n.Call(ctx, nil, "anvil_reorg", depth, []any{})
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
	return id, n.Call(ctx, &id, "evm_snapshot")
}

// Revert goes back to a snapshot: the blocks since then are gone.
func (n *Node) Revert(ctx context.Context, id string) error {
	return n.Call(ctx, nil, "evm_revert", id)
}

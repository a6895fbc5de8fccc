package step

import (
	"context"
	"math/big"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// confirmed is what the chain has made of a mined transaction.
func confirmed(s chain.Status) confirmation {
	fee := s.Fee
	if fee == nil {
		fee = new(big.Int)
	}
	return confirmation{Block: s.Block, BlockHash: s.Hash, Confirmations: s.Depth, GasUsed: s.GasUsed, Fee: fee.String()}
}

// reverted is the failure of a transaction that was mined and undone: its nonce and its fee are spent all the same.
func reverted(hash string, s chain.Status, reason string) error {
	if reason == "" {
		reason = "the node cannot say why"
	}
	return problem.New(problem.Unprocessable, "execution-reverted", "the transaction %s was mined in block %d and reverted: %s; it used %d units of gas and cost %s wei",
		hash, s.Block, reason, s.GasUsed, confirmed(s).Fee)
}

// explained asks why. Not to know it holds nothing up: the outcome is certain.
func (c confirmer) explained(ctx context.Context, ch Chain, task Task, hash string, s chain.Status) error {
	found, err := c.stored(ctx, []Task{task}, []int{0})
	decision, there := found[0]
	if err != nil || !there {
		return reverted(hash, s, "")
	}
	reason, err := ch.Replayer.Replay(ctx, decision.Tx, s)
	if err != nil {
		return reverted(hash, s, "the node cannot say why ("+err.Error()+")")
	}
	return reverted(hash, s, reason)
}

package step

import (
	"context"
	"fmt"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// confirmed is what the chain has made of a mined transaction.
func confirmed(tx transaction.Transaction) confirmation {
	ended, _ := tx.Ended()
	c := confirmation{Hash: ended.Signed.Hash, Block: tx.Fate.Block, BlockHash: tx.Fate.Hash, GasUsed: tx.Fate.GasUsed}
	if tx.Fate.Fee != nil {
		c.Fee = tx.Fate.Fee.String()
	}
	return c
}

// reverted is the failure of a transaction that was mined and undone: its nonce and its fee are spent all the same. Not to
// know why holds nothing up: the outcome is certain.
func reverted(ctx context.Context, ch Chain, tx transaction.Transaction) error {
	ended, _ := tx.Ended()
	status := chain.Status{State: chain.Mined, Block: tx.Fate.Block, Hash: tx.Fate.Hash, GasUsed: tx.Fate.GasUsed, Fee: tx.Fate.Fee}
	reason, err := ch.Replayer.Replay(ctx, ended.Tx, status)
	switch {
	case err != nil:
		reason = "the node cannot say why (" + err.Error() + ")"
	case reason == "":
		reason = "the node cannot say why"
	}
	c, cost := confirmed(tx), ""
	if c.Fee != "" {
		cost = fmt.Sprintf("; it used %d units of gas and cost %s wei", c.GasUsed, c.Fee)
	}
	return problem.New(problem.Unprocessable, "execution-reverted", "the transaction %s was mined in block %d and reverted: %s%s", c.Hash, c.Block, reason, cost)
}

package step

import (
	"context"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// confirmed is what the chain has made of a mined transaction.
func confirmed(tx transaction.Transaction) confirmation {
	ended, _ := tx.Ended()
	c := confirmation{Hash: ended.Signed.Hash, Block: tx.Fate.Block, BlockHash: tx.Fate.Hash, GasUsed: tx.Fate.GasUsed, Fee: "0"}
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
	c := confirmed(tx)
	return problem.New(problem.Unprocessable, "execution-reverted", "the transaction %s was mined in block %d and reverted: %s; it used %d units of gas and cost %s wei",
		c.Hash, c.Block, reason, c.GasUsed, c.Fee)
}

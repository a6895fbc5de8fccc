package step

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// Confirm waits until the lanes have recorded transactions as confirmed (I14): deep enough in canonical blocks, whichever of
// their attempts it was. Whoever records it has the action asked again (controller.Nudge); unconfirmed is the net under that.
func Confirm(chains Chains) Action {
	c := confirmer{chains}
	return Action{Name: "confirm", Effect: true, Batch: 256, Parallel: 2, Run: c.run}
}

// unconfirmed is how long nobody looks again unless told to.
const unconfirmed = 2 * time.Second

// confirmation is what confirm answers.
type confirmation struct {
	Hash      string `json:"hash"` // of the attempt that was mined
	Block     uint64 `json:"block"`
	BlockHash string `json:"block_hash"`
	GasUsed   uint64 `json:"gas_used"` // 0, and the next "", where an operator has said how it ended, and no node tells
	Fee       string `json:"fee"`      // paid in total, smallest unit
}

type confirmer struct{ chains Chains }

func (c confirmer) run(ctx context.Context, tasks []Task) []Outcome {
	out := make([]Outcome, len(tasks))
	for id, which := range byChain(tasks, indexes(len(tasks))) {
		ch, err := c.chains.Get(id)
		if err != nil {
			failAll(out, which, err)
			continue
		}
		c.confirm(ctx, ch, tasks, which, out)
	}
	return out
}

func (c confirmer) confirm(ctx context.Context, ch Chain, tasks []Task, which []int, out []Outcome) {
	steps, asked := signedSteps(tasks, which, out)
	found, err := ch.Lanes.Find(ctx, steps)
	if err != nil {
		failAll(out, asked, err)
		return
	}
	for k, i := range asked {
		tx, decided := found[steps[k]]
		if !decided {
			out[i] = Outcome{Err: problem.New(problem.Internal, "transaction-unsigned", "nothing was decided to be signed in state %s of message %s", steps[k].State, steps[k].Message)}
			continue
		}
		out[i] = c.judge(ctx, ch, tx)
	}
}

// judge turns what became of a transaction into the task's outcome.
func (c confirmer) judge(ctx context.Context, ch Chain, tx transaction.Transaction) Outcome {
	fate := tx.Fate
	ended, mined := tx.Ended()
	switch {
	case fate.Status == transaction.Lost && tx.Settled:
		return Outcome{Err: problem.New(problem.Conflict, "transaction-superseded", "the chain has spent nonce %d of the wallet's address on something that Aval did not decide, as an operator has acknowledged; this transaction can never be mined", tx.Nonce)}
	case fate.Status == transaction.Lost:
		return Outcome{Err: problem.New(problem.Conflict, "key-foreign-use", "the chain has spent nonce %d of the wallet's address on something that Aval did not decide: find out what, before an operator lets the key be used again (aval tx why %s:%d)", tx.Nonce, tx.Key, tx.Nonce)}
	case fate.Status == transaction.Unknown: // it may be done: no catch of a refusal fits it
		return Outcome{Err: problem.New(problem.Conflict, "transaction-outcome-unknown", "the chain has spent nonce %d of the wallet's address, and no node keeps what on, or how that ended: nobody can say whether this is done: find out, say it (aval tx resolve %s:%d), and resume the message", tx.Nonce, tx.Key, tx.Nonce)}
	case mined && fate.Status == transaction.Mined:
		return Outcome{Later: unconfirmed, Note: fmt.Sprintf("%s is in block %d, not deep enough yet", ended.Signed.Hash, fate.Block)}
	case !mined:
		return Outcome{Later: unconfirmed, Note: waiting(tx)}
	case ended.Kind == transaction.NoOp:
		return Outcome{Err: problem.New(problem.Conflict, "transaction-cancelled", "%s does nothing and was mined in block %d in the place of the transaction: %s", ended.Signed.Hash, fate.Block, ended.Reason()), Output: confirmed(tx)}
	case !fate.Success:
		return Outcome{Err: reverted(ctx, ch, tx), Output: confirmed(tx)}
	}
	return Outcome{Note: fmt.Sprintf("%s in block %d", ended.Signed.Hash, fate.Block), Output: confirmed(tx)}
}

func waiting(tx transaction.Transaction) string {
	newest := tx.Newest()
	if newest.Number == 0 {
		return fmt.Sprintf("%s is not in a block yet", newest.Signed.Hash)
	}
	return fmt.Sprintf("none of its %d attempts is in a block yet; the newest, %s, was made because %s", len(tx.Attempts), newest.Signed.Hash, newest.Reason())
}

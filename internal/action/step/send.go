package step

import (
	"context"

	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/transaction"
)

// Lanes see to it that what was signed is mined; transaction.Keeper does.
type Lanes interface {
	// Offer gives the node the stored bytes of the steps' transactions. That it did not take them now is no error.
	Offer(ctx context.Context, steps []signer.Step) []error
	// Signed tells of decisions whose bytes are stored, so that Offer need not read them.
	Signed(decisions []signer.Decision)
	// Find gives the steps' transactions as far as they have come.
	Find(ctx context.Context, steps []signer.Step) (map[signer.Step]transaction.Transaction, error)
}

// Send hands the transactions that were signed to their lanes, which give the stored bytes to the node (I13). It never signs,
// and it does not wait: what the node does not take now the lane's keeper sends later.
func Send(chains Chains) Action {
	return Action{Name: "send", Effect: true, Batch: 512, Parallel: 4, Run: chains.send}
}

func (c Chains) send(ctx context.Context, tasks []Task) []Outcome {
	out := make([]Outcome, len(tasks))
	for id, which := range byChain(tasks, indexes(len(tasks))) {
		ch, err := c.Get(id)
		if err != nil {
			failAll(out, which, err)
			continue
		}
		steps, asked := signedSteps(tasks, which, out)
		errs := ch.Lanes.Offer(ctx, steps)
		for k, i := range asked {
			out[i].Err = errs[k]
		}
	}
	return out
}

// signedSteps are the steps whose transactions the tasks' Arguments name; a task that names none fails alone.
func signedSteps(tasks []Task, which []int, out []Outcome) (steps []signer.Step, asked []int) {
	for _, i := range which {
		tx, err := sent(tasks[i])
		if err != nil {
			out[i].Err = err
			continue
		}
		out[i].Note = tx.Hash
		steps, asked = append(steps, tx.step(tasks[i])), append(asked, i)
	}
	return steps, asked
}

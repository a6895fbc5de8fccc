package step

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Confirm waits until transactions are in canonical blocks deep enough (I14). One that the node has lost is sent again from
// its stored bytes (I12).
func Confirm(chains Chains, decisions Decisions, every time.Duration) Action {
	c := confirmer{sender{chains: chains, decisions: decisions}, every}
	return Action{Name: "confirm", Effect: true, Batch: 256, Parallel: 2, Run: c.run}
}

// confirmation is what confirm answers.
type confirmation struct {
	Block         uint64 `json:"block"`
	BlockHash     string `json:"block_hash"`
	Confirmations uint64 `json:"confirmations"`
	GasUsed       uint64 `json:"gas_used"`
	Fee           string `json:"fee"` // paid in total, smallest unit
}

type confirmer struct {
	sender
	every time.Duration
}

func (c confirmer) run(ctx context.Context, tasks []Task) []Outcome {
	out := make([]Outcome, len(tasks))
	for id, which := range byChain(tasks) {
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
	var hashes []string
	var asked []int
	for _, i := range which {
		tx, err := sent(tasks[i])
		if err != nil {
			out[i].Err = err
			continue
		}
		hashes, asked = append(hashes, tx.Hash), append(asked, i)
	}
	statuses, err := ch.Network.Status(ctx, hashes)
	if err != nil && problem.KindOf(err) == problem.Invalid && len(asked) > 1 { // one of them is no hash: not the others' fault
		for _, i := range asked {
			c.confirm(ctx, ch, tasks, []int{i}, out)
		}
		return
	}
	if err != nil {
		failAll(out, asked, err)
		return
	}
	var lost []int
	for k, i := range asked {
		out[i] = c.judge(hashes[k], statuses[k], ch.Confirmations)
		switch {
		case statuses[k].State == chain.Unknown:
			lost = append(lost, i)
		case out[i].Err != nil:
			out[i].Err = c.explained(ctx, ch, tasks[i], hashes[k], statuses[k])
		}
	}
	c.again(ctx, ch, tasks, lost, out)
}

// judge turns a transaction's status into the task's outcome.
func (c confirmer) judge(hash string, s chain.Status, want uint64) Outcome {
	switch {
	case s.State == chain.Mined && s.Depth >= want && !s.Success:
		return Outcome{Err: reverted(hash, s, ""), Output: confirmed(s)}
	case s.State == chain.Mined && s.Depth >= want:
		return Outcome{Note: fmt.Sprintf("block %d, %d deep", s.Block, s.Depth), Output: confirmed(s)}
	case s.State == chain.Mined:
		return Outcome{Later: c.every, Note: fmt.Sprintf("%s is in block %d, %d of %d confirmations", hash, s.Block, s.Depth, want)}
	}
	return Outcome{Later: c.every, Note: fmt.Sprintf("%s is not in a block yet", hash)}
}

// again sends what the node does not have (any more). Whether that went well shows at the next look; what can never be
// mined fails, or it would be waited for for ever.
func (c confirmer) again(ctx context.Context, ch Chain, tasks []Task, lost []int, out []Outcome) {
	if len(lost) == 0 {
		return
	}
	resent := make([]Outcome, len(tasks))
	c.send(ctx, ch, tasks, lost, resent)
	for _, i := range lost {
		err := resent[i].Err
		switch {
		case err == nil:
			out[i].Note = "the node did not have the transaction; its stored bytes were sent again"
		case hopeless(err):
			out[i] = Outcome{Err: err}
		default:
			out[i].Note = "the node does not have the transaction and did not take it: " + err.Error()
		}
	}
}

// hopeless tells what sending again cannot mend: another transaction has the nonce, or there are no bytes.
func hopeless(err error) bool {
	code := problem.From(err).Code
	return code == "transaction-refused" || code == "transaction-unsigned"
}

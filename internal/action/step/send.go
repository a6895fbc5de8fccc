package step

import (
	"context"

	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// Send broadcasts the stored bytes of the transactions that were signed (I13). It never signs: what was sent already is
// found by its hash, and counts as sent.
func Send(chains Chains, decisions Decisions, faults *fault.Points) Action {
	s := sender{chains, decisions, faults}
	return Action{Name: "send", Effect: true, Batch: 128, Parallel: 4, Run: s.run}
}

type sender struct {
	chains    Chains
	decisions Decisions
	faults    *fault.Points
}

func (s sender) run(ctx context.Context, tasks []Task) []Outcome {
	out := make([]Outcome, len(tasks))
	for id, which := range byChain(tasks) {
		ch, err := s.chains.Get(id)
		if err != nil {
			failAll(out, which, err)
			continue
		}
		s.send(ctx, ch, tasks, which, out)
	}
	return out
}

func (s sender) send(ctx context.Context, ch Chain, tasks []Task, which []int, out []Outcome) {
	which = s.named(tasks, which, out)
	found, err := s.stored(ctx, tasks, which)
	if err != nil {
		failAll(out, which, err)
		return
	}
	var raw [][]byte
	var sending []int
	for _, i := range which {
		d, ok := found[i]
		if !ok {
			out[i].Err = problem.New(problem.Internal, "transaction-unsigned", "no signed bytes are stored for state %s of message %s", tasks[i].State, tasks[i].Record.ID)
			continue
		}
		raw, sending = append(raw, d.Signed.Raw), append(sending, i)
		out[i].Note = d.Signed.Hash
	}
	if err := s.faults.Hit("send.before"); err != nil {
		failAll(out, sending, err)
		return
	}
	errs := ch.Network.Send(ctx, raw)
	err = s.faults.Hit("send.after")
	for k, i := range sending {
		out[i].Err = errs[k]
		if err != nil {
			out[i].Err = err
		}
	}
}

// named keeps the tasks whose Arguments name a transaction, and fails the others.
func (s sender) named(tasks []Task, which []int, out []Outcome) (rest []int) {
	for _, i := range which {
		if _, err := sent(tasks[i]); err != nil {
			out[i].Err = err
			continue
		}
		rest = append(rest, i)
	}
	return rest
}

// stored finds the signed bytes of the tasks, by index.
func (s sender) stored(ctx context.Context, tasks []Task, which []int) (map[int]signer.Decision, error) {
	steps, at := make([]signer.Step, 0, len(which)), make(map[signer.Step]int, len(which))
	for _, i := range which {
		tx, err := sent(tasks[i])
		if err != nil {
			return nil, err
		}
		steps = append(steps, tx.step(tasks[i]))
		at[tx.step(tasks[i])] = i
	}
	found, err := s.decisions.Find(ctx, steps)
	if err != nil {
		return nil, err
	}
	signed := make(map[int]signer.Decision, len(found))
	for step, d := range found {
		if len(d.Signed.Raw) > 0 {
			signed[at[step]] = d
		}
	}
	return signed, nil
}

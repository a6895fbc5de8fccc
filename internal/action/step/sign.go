package step

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/wallet"
)

// Signer has transactions signed, once for each step: signer.Signer in this process, signer.Pipeline by others.
type Signer interface {
	Decisions
	// Asked tells of steps that were asked for before and have no decision how that stands: signer.ErrUnanswered, or why not.
	Asked(ctx context.Context, steps []signer.Step) (map[signer.Step]error, error)
	// Withdraw gives up what was asked for the steps and is not decided, because of a problem: Asked tells it. Once it has returned nil,
	// what is not decided by then will not be. What was never asked for is nothing.
	Withdraw(ctx context.Context, steps []signer.Step, because error) error
	// Waits says whether SignAll waits for keys that are in use. Then it is asked for each wallet's requests on their own.
	Waits() bool
	// SignAll has each request signed by its key. signer.ErrUnanswered: not yet, ask again.
	SignAll(ctx context.Context, requests []signer.Request) ([]signer.Decision, []error)
}

// Sign builds the transaction that an order asks for, has the policy decide once more on exactly what would be signed
// (I23), and has it signed with the wallet's key: message-expired when the client's time for it is over. A step that was decided
// before is completed whatever the time, and one that is signed already answers with what it signed (I13). Where others sign, the
// action is asked again until they have: whoever learns of it has it asked at once (controller.Nudge). When the state's time is over what is
// not decided is given up first, and then the time-out is told; what is decided is waited for, as it will be sent.
//
// Batches are large and few: a lease costs as many commits for one transaction as for a hundred. Where keys are waited for each wallet has
// its own, and one whose key signs slowly, or is in use elsewhere, holds up no other.
func Sign(gate *Gate, keys Signer, chains Chains) Action {
	s := signing{gate, keys, chains}
	a := Action{Name: "sign", Effect: true, Withdraws: true, Batch: 1024, Parallel: 2, Run: s.run}
	if keys != nil && keys.Waits() { // without keys: who asks for the name alone
		a.Lane, a.Batch, a.Parallel = wallets, 256, 64
	}
	return a
}

// wallets are the lanes of those who wait for keys. What names none is refused by the run.
func wallets(task Task) string {
	o, _ := readOrder(task)
	return o.Wallet
}

type signing struct {
	gate   *Gate
	keys   Signer
	chains Chains
}

// draft is a task on its way to a signature.
type draft struct {
	index    int
	wallet   wallet.Wallet
	call     chain.Call
	tx       chain.Unsigned
	declared string // what the message says that its data calls
}

func (s signing) run(ctx context.Context, tasks []Task) []Outcome {
	out := make([]Outcome, len(tasks))
	steps := make([]signer.Step, len(tasks))
	for i, t := range tasks {
		steps[i] = signer.Step{Message: t.Record.ID, State: t.State}
	}
	if err := s.withdraw(ctx, tasks, steps); err != nil {
		for i := range out {
			out[i] = Outcome{Later: unanswered, Note: "what was asked to be signed could not be withdrawn: " + err.Error()}
		}
		return out
	}
	decided, err := s.keys.Find(ctx, steps)
	if err != nil {
		failAll(out, indexes(len(tasks)), err)
		return out
	}
	fresh, err := s.unasked(ctx, steps, decided, out)
	if err != nil {
		failAll(out, fresh, err)
		return out
	}
	fresh = slices.DeleteFunc(fresh, func(i int) bool {
		if _, is := decided[steps[i]]; is || !tasks[i].Overdue {
			return false
		}
		out[i].Err = errOverdue
		return true
	})
	var drafts []*draft
	for id, which := range byChain(tasks, fresh) {
		ch, err := s.chains.Get(id)
		if err != nil {
			failAll(out, which, err)
			continue
		}
		drafts = append(drafts, s.drafts(ctx, ch, tasks, which, decided, out)...)
	}
	s.sign(ctx, drafts, tasks, steps, out)
	return out
}

// errOverdue is the error that the language has for a state whose time is over.
var errOverdue = problem.New(problem.Unavailable, "States.Timeout", "nothing was signed in its time, and nothing will be for this attempt")

// withdraw gives up what was asked for the tasks whose time is over.
func (s signing) withdraw(ctx context.Context, tasks []Task, steps []signer.Step) error {
	var over []signer.Step
	for i, t := range tasks {
		if t.Overdue {
			over = append(over, steps[i])
		}
	}
	if len(over) == 0 {
		return nil
	}
	return s.keys.Withdraw(ctx, over, errOverdue)
}

// unasked leaves out the tasks that wait for the answer to what they have asked before, or have got a refusal.
func (s signing) unasked(ctx context.Context, steps []signer.Step, decided map[signer.Step]signer.Decision, out []Outcome) (fresh []int, err error) {
	var open []signer.Step
	for _, step := range steps {
		if _, is := decided[step]; !is {
			open = append(open, step)
		}
	}
	var asked map[signer.Step]error
	if len(open) > 0 {
		asked, err = s.keys.Asked(ctx, open)
	}
	for i, step := range steps {
		if answer, is := asked[step]; is {
			out[i] = unsigned(answer)
			continue
		}
		fresh = append(fresh, i)
	}
	return fresh, err
}

// unsigned is the outcome of a task that is not signed: it has failed, or is to be asked again.
func unsigned(err error) Outcome {
	if errors.Is(err, signer.ErrUnanswered) {
		return Outcome{Later: unanswered, Note: "it is asked for, and no signing worker has answered yet"}
	}
	return Outcome{Err: err}
}

// unanswered is how long nobody looks again unless told to.
const unanswered = 2 * time.Second

// drafts makes the transactions of one chain's tasks; those that were decided before keep theirs.
func (s signing) drafts(ctx context.Context, ch Chain, tasks []Task, which []int, decided map[signer.Step]signer.Decision, out []Outcome) []*draft {
	var ready, fresh []*draft
	for _, i := range which {
		d, err := s.draft(ctx, ch, tasks[i], i)
		if err != nil {
			out[i].Err = err
			continue
		}
		if old, ok := decided[signer.Step{Message: tasks[i].Record.ID, State: tasks[i].State}]; ok {
			d.tx = old.Tx
			ready = append(ready, d)
			continue
		}
		if out[i].Err = s.gate.late(tasks[i]); out[i].Err == nil {
			out[i].Err = ch.fits(d.call, d.declared)
		}
		if out[i].Err == nil {
			fresh = append(fresh, d)
		}
	}
	return append(ready, s.build(ctx, ch, tasks, fresh, out)...)
}

func (s signing) draft(ctx context.Context, ch Chain, task Task, index int) (*draft, error) {
	o, err := readOrder(task)
	if err != nil {
		return nil, err
	}
	w, err := s.gate.wallets.Get(ctx, o.Wallet)
	if err != nil {
		return nil, err
	}
	call, err := o.call(ch.Codec, w.Address)
	return &draft{index: index, wallet: w, call: call, declared: o.Calls}, err
}

// build completes transactions in one round trip and lets through what the policy allows.
func (s signing) build(ctx context.Context, ch Chain, tasks []Task, fresh []*draft, out []Outcome) []*draft {
	if len(fresh) == 0 {
		return nil
	}
	calls := make([]chain.Call, len(fresh))
	for k, d := range fresh {
		calls[k] = d.call
		calls[k].Fees, calls[k].Declared = ch.Fees.For(tasks[d.index].Record.Type), d.declared != "" || ch.binds(d.call.To)
	}
	var ready []*draft
	txs, errs := ch.Network.Build(ctx, calls)
	gate := s.gate.batch()
	for k, d := range fresh {
		err := errs[k]
		if err == nil {
			d.tx = txs[k]
			_, err = gate.Allow(ctx, tasks[d.index], ch.judged(d.tx))
		}
		if err != nil {
			out[d.index].Err = err
			continue
		}
		ready = append(ready, d)
	}
	return ready
}

func (s signing) sign(ctx context.Context, drafts []*draft, tasks []Task, steps []signer.Step, out []Outcome) {
	if len(drafts) == 0 {
		return
	}
	requests := make([]signer.Request, len(drafts))
	for k, d := range drafts {
		requests[k] = signer.Request{Step: steps[d.index], Tx: d.tx, Key: d.wallet.Key, Until: tasks[d.index].Record.Expires}
	}
	decisions, errs := s.keys.SignAll(ctx, requests)
	s.tell(decisions)
	for k, d := range drafts {
		if errs[k] != nil {
			out[d.index] = unsigned(errs[k])
			continue
		}
		signed := decisions[k]
		tx := reference{State: signed.Step.State, Chain: signed.Chain, From: signed.Tx.From, Nonce: signed.Nonce, Hash: signed.Signed.Hash}
		out[d.index] = Outcome{Output: tx, Note: tx.String()}
	}
}

// tell lets the lanes know what they will be offered.
func (s signing) tell(decisions []signer.Decision) {
	signed := map[string][]signer.Decision{}
	for _, d := range decisions {
		if len(d.Signed.Raw) > 0 {
			signed[d.Chain] = append(signed[d.Chain], d)
		}
	}
	for id, some := range signed {
		if ch, err := s.chains.Get(id); err == nil { // it was found before, to build them
			ch.Lanes.Signed(some)
		}
	}
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

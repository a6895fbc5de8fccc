package transaction

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// Intervene replaces a step's transaction because an operator says so, with a Raise or a NoOp, and answers with what there is
// then. The replacement is recorded under the operator's name before it is signed. It offers what the chain asks, and at least
// a tenth more than before; the ceiling of the fee policy holds, its budget is the operator's matter.
func (k *Keeper) Intervene(ctx context.Context, step signer.Step, kind Kind, by, why string) (Transaction, error) {
	t, info, err := k.open(ctx, step)
	if err != nil {
		return t, err
	}
	newest := t.Newest()
	if len(newest.Signed.Raw) == 0 {
		return t, problem.New(problem.Conflict, "transaction-unsigned", "the newest attempt for nonce %d of the key %s is not signed yet: wait a moment", t.Nonce, t.Key)
	}
	policy, err := k.options.Policy(ctx, step)
	if err != nil {
		return t, err
	}
	quote, err := k.Market.Quote(ctx, policy.Percentile)
	if err != nil {
		return t, err
	}
	price, err := chain.FeePolicy{Ceiling: policy.Ceiling}.Raise(newest.Tx.Price(), quote, newest.Tx.Gas)
	if err != nil {
		return t, err
	}
	a := Attempt{Number: newest.Number + 1, Kind: kind, Tx: t.Attempts[0].Tx, By: by, Why: why, At: time.Now()}
	if kind == NoOp {
		if a.Tx, err = k.noOp(ctx, a.Tx); err != nil {
			return t, err
		}
	}
	a.Tx = a.Tx.Priced(price)
	l := k.lane(t.Key)
	l.remember(t)
	if err := k.add(ctx, l, info, t, a); err != nil {
		return t, err
	}
	return k.one(ctx, step)
}

// Resend gives the node the stored bytes of a step's transaction once more (I13). That the node has them is no error; what it
// says otherwise is answered.
func (k *Keeper) Resend(ctx context.Context, step signer.Step) (Transaction, error) {
	t, _, err := k.open(ctx, step)
	if err != nil {
		return t, err
	}
	l := k.lane(t.Key)
	l.remember(t)
	all := l.newest(t.Nonce)
	if len(all) == 0 {
		return t, problem.New(problem.Conflict, "transaction-unsigned", "no signed bytes are stored for nonce %d of the key %s", t.Nonce, t.Key)
	}
	err = k.Network.Send(ctx, [][]byte{all[0].raw})[0]
	l.answered(t.Nonce, err)
	return t, err
}

// open finds a step's transaction and its lane, unless a block holds it.
func (k *Keeper) open(ctx context.Context, step signer.Step) (t Transaction, info Lane, err error) {
	if t, err = k.one(ctx, step); err != nil {
		return t, info, err
	}
	if t.Fate.Spent() || t.Fate.Status == Lost {
		return t, info, problem.New(ErrSettled.Kind, ErrSettled.Code, "nonce %d of the key %s is spent; nothing can replace its transaction", t.Nonce, t.Key)
	}
	lanes, err := k.Store.Lanes(ctx, k.Network.ID())
	if err != nil {
		return t, info, err
	}
	for _, l := range lanes {
		if l.Key == t.Key {
			return t, l, nil
		}
	}
	return t, info, problem.New(ErrSettled.Kind, ErrSettled.Code, "the lane of the key %s is settled", t.Key)
}

func (k *Keeper) one(ctx context.Context, step signer.Step) (Transaction, error) {
	found, err := k.Store.Find(ctx, []signer.Step{step})
	if err != nil {
		return Transaction{}, err
	}
	t, decided := found[step]
	if !decided {
		return t, problem.New(ErrUnknown.Kind, ErrUnknown.Code, "nothing was decided to be signed for %s at %s", step.Message, step.State)
	}
	return t, nil
}

// Why explains in sentences where a step's transaction stands, with what the chain shows now.
func (k *Keeper) Why(ctx context.Context, step signer.Step) ([]string, error) {
	t, err := k.one(ctx, step)
	if err != nil {
		return nil, err
	}
	head, err := k.Network.Head(ctx)
	if err != nil {
		return nil, err
	}
	nonces, err := k.Follower.Nonces(ctx, []string{t.Attempts[0].Tx.From})
	if err != nil {
		return nil, err
	}
	v := View{Now: Moment{Head: head, At: time.Now()}, Nonce: nonces[0]}
	if v.Confirmed, v.Final, err = k.heights(ctx, head); err != nil {
		return nil, err
	}
	remembered := Open{Transaction: t}
	k.lane(t.Key).change(t.Nonce, func(o *Open) { remembered = *o })
	remembered.Transaction = t
	var hashes []string
	for _, a := range t.Attempts {
		if a.Signed.Hash != "" {
			hashes = append(hashes, a.Signed.Hash)
		}
	}
	if v.Found, err = k.ask(ctx, hashes); err != nil {
		return nil, err
	}
	return Explain(remembered, v, k.options.Rules), nil
}

// Explain says where a transaction stands and what will happen next.
func Explain(t Open, v View, r Rules) (facts []string) {
	say := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	from := t.Attempts[0].Tx.From
	for _, a := range t.Attempts[1:] {
		say("Attempt %d (%s, by %s): %s.", a.Number, a.Kind, a.By, a.Why)
	}
	known := chain.Unknown
	for _, s := range v.Found {
		if s.State == chain.Mined || known == chain.Unknown {
			known = s.State
		}
	}
	switch {
	case t.Fate.Status == Lost:
		say("The chain has spent its nonce %d of %s on something that Aval did not decide.", t.Nonce, from)
	case t.Fate.Status == Confirmed && t.Fate.Block <= v.Final:
		say("It is confirmed and final, in block %d.", t.Fate.Block)
	case t.Fate.Status == Confirmed:
		say("It is confirmed, in block %d; until block %d is final a reorganisation can take it back.", t.Fate.Block, t.Fate.Block)
	case known == chain.Mined:
		say("The chain has it in a block that is not deep enough yet; the head is %d.", v.Now.Head)
	case t.Nonce >= v.Nonce+r.Window:
		say("It is nonce %d of %s, whose next is %d: at most %d transactions of a lane are with the node, so it waits for its turn.", t.Nonce, from, v.Nonce, r.Window)
	case len(t.Newest().Signed.Raw) == 0:
		say("It is decided and not signed; the keeper signs it %s after it has noticed it.", r.Grace)
	case t.Refusal != "":
		say("The node does not take it: %s.", t.Refusal)
	case known == chain.Unknown:
		say("The node does not have it; its stored bytes are sent at the next look.")
	case t.Nonce > v.Nonce:
		say("The node has it. %d transactions of %s are before it.", t.Nonce-v.Nonce, from)
	default:
		say("The node has it, it is the next of %s, and no block holds it yet: it offers %s wei for a unit of gas.", from, t.Newest().Tx.Fee)
	}
	if t.Capped {
		say("The fee policy of its message type forbids to offer more.")
	}
	return facts
}

package transaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// Offer gives the node the stored bytes of the steps' transactions, at once, so far as their lanes' windows allow; the rest
// follows at later heads. It answers one error a step: transaction-unsigned where nothing was signed, and storage errors. That
// the node did not take the bytes is no error: the keeper sees to it.
func (k *Keeper) Offer(ctx context.Context, steps []signer.Step) []error {
	places, errs := k.places(ctx, steps)
	var all []bytesOf
	for i, at := range places {
		switch {
		case errs[i] != nil:
		case at.lane.admits(at.nonce, k.options.Rules):
			all = append(all, at.lane.newest(at.nonce)...)
		default:
			at.lane.change(at.nonce, func(o *Open) { o.Held = true })
		}
	}
	k.broadcast(ctx, all)
	return errs
}

// places finds the steps' transactions in memory, and puts those there that were not.
func (k *Keeper) places(ctx context.Context, steps []signer.Step) ([]place, []error) {
	places, errs := make([]place, len(steps)), make([]error, len(steps))
	var rest []signer.Step
	for i, step := range steps {
		at, known := k.index.find(step)
		if known && at.lane.ready(at.nonce) {
			places[i] = at
			continue
		}
		rest = append(rest, step)
	}
	if len(rest) == 0 {
		return places, errs
	}
	found, err := k.Store.Find(ctx, rest)
	for i, step := range steps {
		t, decided := found[step]
		switch {
		case places[i].lane != nil:
		case err != nil:
			errs[i] = err
		case !decided || len(t.Attempts[0].Signed.Raw) == 0:
			errs[i] = problem.New(problem.Internal, "transaction-unsigned", "no signed bytes are stored for state %s of message %s", step.State, step.Message)
		default:
			places[i] = place{k.lane(t.Key), t.Nonce}
			places[i].lane.remember(t)
		}
	}
	return places, errs
}

// bytesOf is one attempt on its way to the node.
type bytesOf struct {
	lane  *lane
	nonce uint64
	raw   []byte
}

// newest is the stored bytes of a transaction's newest attempt, unless it is known to be mined.
func (l *lane) newest(nonce uint64) (b []bytesOf) {
	l.change(nonce, func(o *Open) {
		for i := len(o.Attempts) - 1; i >= 0 && !o.Fate.Spent() && b == nil; i-- {
			if raw := o.Attempts[i].Signed.Raw; len(raw) > 0 {
				b = []bytesOf{{l, nonce, raw}}
			}
		}
	})
	return b
}

// send gives the node the bytes that were planned to be sent.
func (k *Keeper) send(ctx context.Context, l *lane, acts []Act) {
	var all []bytesOf
	for _, a := range acts {
		if a.Event == EventResent {
			l.dropped(k.options.Rules)
		}
		all = append(all, l.newest(a.Nonce)...)
	}
	k.broadcast(ctx, all)
}

// dropped notes that a node has lost what it had taken: it may have no room for so many of one address.
func (l *lane) dropped(r Rules) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.refused(l.head, r)
}

// broadcast sends in one round trip and remembers what the node said of each.
func (k *Keeper) broadcast(ctx context.Context, all []bytesOf) {
	if len(all) == 0 {
		return
	}
	raw := make([][]byte, len(all))
	for i, b := range all {
		raw[i] = b.raw
	}
	if err := k.options.Faults.Hit("send.before"); err != nil {
		return // as if the node could not be reached
	}
	errs := k.Network.Send(ctx, raw)
	if err := k.options.Faults.Hit("send.after"); err != nil {
		return // carried out, and not known to be
	}
	now := Moment{Head: k.head.Load(), At: time.Now()}
	for i, b := range all {
		switch strikes := b.lane.answered(b.nonce, errs[i], now, k.options.Rules); {
		case strikes == k.options.Rules.Certainty:
			k.lookIn(atOnce)
		case strikes > 0 && strikes < k.options.Rules.Certainty:
			k.lookIn(soon)
		}
	}
}

// What a node will never take holds its lane up, and one answer is not believed. So it is asked again soon, and when it has said so
// often enough the lane is looked at at once, not only at the next head.
const (
	soon   = time.Second
	atOnce = 20 * time.Millisecond // the look that is under way ends first
)

// lookIn lets the next look come no later than after a pause, also without a new head.
func (k *Keeper) lookIn(pause time.Duration) {
	select {
	case k.soon <- pause:
	default: // one comes
	}
}

// answered remembers what the node said of a transaction's newest bytes, and gives how often in a row it has said that it will
// never take them.
func (l *lane) answered(nonce uint64, err error, now Moment, r Rules) (strikes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.open[nonce]
	if o == nil {
		return 0
	}
	kind, code := problem.KindOf(err0(err)), problem.From(err0(err)).Code
	if code == "chain-busy" {
		l.window.refused(l.head, r)
	}
	o.Cheap = code == "transaction-underpriced"
	switch {
	case err == nil, o.Cheap, kind == problem.Conflict: // another of its attempts may have the nonce
		o.Refusal, o.Strikes, o.Poor = "", 0, false
	case code == "insufficient-funds", kind == problem.Unprocessable:
		o.Refusal, o.Poor = err.Error(), code == "insufficient-funds"
		o.Strikes++
	default:
		return 0 // not known to have reached the node: it is offered again
	}
	o.Offered = now
	return o.Strikes
}

// err0 is for looking into an error that may be nil.
func err0(err error) error {
	if err == nil {
		return problem.New(problem.Internal, "", "")
	}
	return err
}

// sign completes what was decided and has no bytes.
func (k *Keeper) sign(ctx context.Context, l *lane, info Lane, a Act) error {
	var t Transaction
	l.change(a.Nonce, func(o *Open) { t = o.Transaction })
	attempt := t.Newest()
	if attempt.Number > 0 {
		return k.seal(ctx, l, info, a.Nonce, attempt)
	}
	decisions, errs := k.Signer.Sign(ctx, info.Key, []signer.Request{{Step: t.Step, Tx: attempt.Tx}})
	if errs[0] != nil {
		return errs[0]
	}
	l.change(a.Nonce, func(o *Open) {
		o.Attempts = append([]Attempt(nil), o.Attempts...)
		o.Attempts[0].Signed = decisions[0].Signed
	})
	k.broadcast(ctx, l.newest(a.Nonce))
	return nil
}

// replace decides about one more attempt, signs and sends it. A crash in between leaves it decided, or signed: the next look
// goes on from there.
func (k *Keeper) replace(ctx context.Context, l *lane, info Lane, v View, a Act) error {
	var t Transaction
	l.change(a.Nonce, func(o *Open) { t = o.Transaction })
	attempt := Attempt{Number: a.Attempt, Kind: a.Kind, By: ByKeeper, Why: a.Why, At: v.Now.At, Tx: t.Attempts[0].Tx}
	if a.Kind == NoOp {
		noop, err := k.noOp(ctx, attempt.Tx)
		if err != nil {
			return err
		}
		attempt.Tx = noop
	}
	attempt.Tx = attempt.Tx.Priced(a.Price)
	return k.add(ctx, l, info, t, attempt)
}

// add commits an attempt with its event, seals and sends it.
func (k *Keeper) add(ctx context.Context, l *lane, info Lane, t Transaction, a Attempt) error {
	if err := k.Store.Replace(ctx, info.Key, t.Nonce, a); err != nil {
		if errors.Is(err, ErrTaken) {
			k.refresh(ctx, l, info, t.Nonce)
		}
		return fmt.Errorf("decide attempt %d for nonce %d of the key %s: %w", a.Number, t.Nonce, info.Key, err)
	}
	l.change(t.Nonce, func(o *Open) {
		o.Attempts = append(append([]Attempt(nil), o.Attempts...), a)
		o.Offered, o.Waiting, o.Looks, o.Refusal, o.Strikes, o.Poor, o.Cheap, o.Capped = Moment{}, Moment{}, 0, "", 0, false, false, false
	})
	k.tell(ctx, info, a.Event(t.Nonce))
	return k.seal(ctx, l, info, t.Nonce, a)
}

// refresh reads a transaction again that another process has added to.
func (k *Keeper) refresh(ctx context.Context, l *lane, info Lane, nonce uint64) {
	if some, err := k.Store.Range(ctx, info.Key, nonce, 1); err == nil {
		l.remember(some...)
	}
}

// seal signs a committed attempt, stores its bytes and sends what is stored.
func (k *Keeper) seal(ctx context.Context, l *lane, info Lane, nonce uint64, a Attempt) error {
	signed, err := k.Signer.Seal(ctx, info.Key, a.Tx, nonce)
	if err != nil {
		return fmt.Errorf("sign attempt %d for nonce %d of the key %s: %w", a.Number, nonce, info.Key, err)
	}
	if signed, err = k.Store.Seal(ctx, info.Key, nonce, a.Number, signed); err != nil {
		return fmt.Errorf("store attempt %d for nonce %d of the key %s: %w", a.Number, nonce, info.Key, err)
	}
	l.change(nonce, func(o *Open) {
		o.Attempts = append([]Attempt(nil), o.Attempts...)
		o.Attempts[a.Number].Signed = signed
	})
	k.broadcast(ctx, l.newest(nonce))
	return nil
}

// noOp makes a transaction of the address to itself, with the gas that the chain asks for it.
func (k *Keeper) noOp(ctx context.Context, like chain.Unsigned) (chain.Unsigned, error) {
	txs, errs := k.Network.Build(ctx, []chain.Call{{From: like.From, To: like.From}})
	if errs[0] != nil {
		return chain.Unsigned{}, fmt.Errorf("make a transaction that does nothing: %w", errs[0])
	}
	return txs[0], nil
}

// halt tells the registry what the chain shows, and sets the key aside. Where the chain is ahead of what was decided the registry
// finds that out itself.
func (k *Keeper) halt(ctx context.Context, info Lane, v View, why string) error {
	err := k.Keys.Reconcile(ctx, info.Key, v.Nonce)
	if err == nil || problem.KindOf(err) == problem.Conflict {
		err = k.Keys.Distrust(ctx, info.Key, ByKeeper, why)
	}
	return err
}

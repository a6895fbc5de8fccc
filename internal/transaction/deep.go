package transaction

import (
	"context"
	"fmt"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
)

// resurface deals with nonces that the chain had spent and has not any more, where nothing open stands for them. A
// reorganisation deeper than what counts as final has freed them, or one that took away what a stranger had spent. Nothing
// behind them would ever be mined. What was mined is sent again, the same bytes (I13), and told as reversed: its message has
// ended and stays ended. What nobody decided, or was lost, is filled with a no-op (I12).
func (k *Keeper) resurface(ctx context.Context, l *lane, info Lane, v View) error {
	if v.Nonce >= info.Next || v.Nonce >= info.Settled && l.knows(v.Nonce) {
		l.sunk, l.told = 0, nil
		return nil
	}
	rows, err := k.Store.Range(ctx, info.Key, v.Nonce, int(min(info.Next-v.Nonce, k.options.Rules.Window, chunk)))
	if err != nil || info.Halted != "" {
		return err
	}
	if v.Found, err = k.ask(ctx, endings(rows)); err != nil {
		return err
	}
	known, err := k.Store.Range(ctx, info.Key, 0, 1)
	if err != nil {
		return err
	}
	if l.sunk++; !Sunk(rows, v) || len(known) == 0 || known[0].Nonce > v.Nonce { // what a key did before is not Aval's to fill
		l.sunk = 0
	}
	if l.sunk < k.options.Rules.Certainty {
		return nil
	}
	return k.refill(ctx, l, info, v, rows)
}

// endings are the hashes by which transactions were mined.
func endings(rows []Transaction) (hashes []string) {
	for _, t := range rows {
		if a, ok := t.Ended(); ok {
			hashes = append(hashes, a.Signed.Hash)
		}
	}
	return hashes
}

// Sunk says whether a look shows that the chain has given up what is recorded of transactions from the lane's nonce on: who told
// the nonce, and who was asked for them, have come as far as the blocks that held them. A node that is behind shows nothing.
func Sunk(rows []Transaction, v View) bool {
	for _, t := range rows {
		a, mined := t.Ended()
		if !mined {
			continue
		}
		s := v.Found[a.Signed.Hash]
		if s.State == chain.Mined && t.Nonce == v.Nonce || v.Head < t.Fate.Block || s.Head < t.Fate.Block {
			return false
		}
	}
	return true
}

// refill sends what was mined, and fills what nobody decided or was lost.
func (k *Keeper) refill(ctx context.Context, l *lane, info Lane, v View, rows []Transaction) error {
	next := v.Nonce
	var again []Transaction
	for _, t := range append(rows, Transaction{Nonce: info.Next}) {
		if t.Nonce > next {
			return k.fill(ctx, info, v, Transaction{Key: info.Key, Nonce: next, Step: FillStep(info.Key, next)}, again, l)
		}
		if t.Nonce >= info.Settled || len(t.Attempts) == 0 {
			break // the rest is open, or not there yet
		}
		if t.Fate.GivenUp() && t.Newest().Kind != NoOp {
			return k.fill(ctx, info, v, t, again, l)
		}
		again, next = append(again, t), t.Nonce+1
	}
	return k.again(ctx, l, info, v, again)
}

// again sends the bytes that had the nonces once more, and tells each once.
func (k *Keeper) again(ctx context.Context, l *lane, info Lane, v View, all []Transaction) error {
	var m Marks
	var raw [][]byte
	for _, t := range all {
		a, mined := t.Ended()
		if !mined {
			a = t.Newest()
		}
		raw = append(raw, a.Signed.Raw)
		if !mined || l.told[t.Nonce] {
			continue
		}
		why := reorganised(t.Fate, k.options.final()+"; its bytes are sent again, and its message stays as it ended")
		m.Events = append(m.Events, Event{Nonce: t.Nonce, What: EventReversed, By: ByKeeper, Why: why, At: v.Now.At})
	}
	if len(m.Events) > 0 {
		if err := k.Store.Mark(ctx, info.Key, m); err != nil {
			return fmt.Errorf("record that the chain has given up transactions of the key %s: %w", info.Key, err)
		}
	}
	if l.told == nil {
		l.told = map[uint64]bool{}
	}
	for _, e := range m.Events {
		l.told[e.Nonce] = true
		k.tell(ctx, info, e)
	}
	for i, err := range k.Network.Send(ctx, raw) {
		if err != nil {
			k.options.Log.WarnContext(ctx, "what a deep reorganisation took out of its block could not be sent again; it is tried again", "key", info.Key, "nonce", all[i].Nonce, "error", err)
		}
	}
	return ctx.Err()
}

// final says of a block that it counted as final, and by what.
func (o Options) final() string {
	if o.tagged() {
		return "the chain had called it finalized"
	}
	return fmt.Sprintf("it was deeper than what counts as final (chain.final_depth, %d blocks)", o.FinalDepth)
}

// fill decides a no-op for a nonce that a stranger had spent, after what stands before it was sent again.
func (k *Keeper) fill(ctx context.Context, info Lane, v View, t Transaction, before []Transaction, l *lane) error {
	if err := k.again(ctx, l, info, v, before); err != nil {
		return err
	}
	a := Attempt{Kind: NoOp, By: ByKeeper, Why: "a reorganisation has freed the nonce, which somebody else had spent", At: v.Now.At}
	tx, err := k.noOp(ctx, chain.Unsigned{From: info.Address})
	if err != nil {
		return err
	}
	a.Tx = tx
	if len(t.Attempts) > 0 {
		newest := t.Newest()
		price, err := chain.FeePolicy{}.Raise(newest.Tx.Price(), chain.Quote{Price: tx.Price()}, tx.Gas)
		if err != nil {
			return err
		}
		a.Number, a.Tx = newest.Number+1, tx.Priced(price)
	}
	if err := k.Store.Replace(ctx, info.Key, t.Nonce, a); err != nil {
		return fmt.Errorf("fill nonce %d of the key %s: %w", t.Nonce, info.Key, err)
	}
	k.tell(ctx, info, a.Event(t.Nonce))
	if a.Number > 0 {
		return k.seal(ctx, l, info, t.Nonce, a)
	}
	_, errs := k.Signer.Sign(ctx, info.Key, []signer.Request{{Step: t.Step, Tx: a.Tx}})
	return errs[0]
}

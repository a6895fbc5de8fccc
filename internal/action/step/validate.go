package step

import (
	"context"

	"github.com/avalhq/aval/internal/problem"
)

// Validate checks what only the running system knows: that what the message names exists here and fits together. Its shape
// and its signature were checked before it was accepted.
func Validate(wallets Wallets, chains Chains) Action {
	return Action{Name: "validate", Run: Each(func(ctx context.Context, task Task) (any, error) {
		o, err := readOrder(task)
		if err != nil || o.Wallet == "" {
			return nil, err
		}
		w, err := wallets.Get(ctx, o.Wallet)
		if err != nil {
			return nil, err
		}
		if w.Chain != task.Record.Chain {
			return nil, problem.New(problem.Invalid, "message-invalid", "wallet %s is on %s, and the message is for %s", w.ID, w.Chain, task.Record.Chain)
		}
		ch, err := chains.Get(w.Chain)
		if err != nil {
			return nil, err
		}
		if _, err := ch.Codec.Address(o.To); err != nil {
			return nil, err
		}
		_, err = o.call(ch.Codec, w.Address)
		return nil, err
	})}
}

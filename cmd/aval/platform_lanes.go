package main

import (
	"context"
	"math/big"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
)

// newKeeper makes what keeps the chain's lanes going.
func (p *platform) newKeeper() *transaction.Keeper {
	c := p.config.Chain
	ports := transaction.Ports{
		Store: p.storage.transactions, Network: p.metrics.Network(p.network), Follower: p.network, Market: p.network, Signer: p.signer, Keys: p.storage.keys,
	}
	return transaction.New(ports, transaction.Options{
		Confirmations: c.Confirmations, FinalDepth: c.FinalDepth, Finality: chain.Tag(c.Finality),
		Rules:  transaction.Rules{Window: c.Lanes.Window, Widest: c.Lanes.Widest, Grace: c.Lanes.Grace},
		Policy: p.feePolicyOf, Every: max(5*p.heads(), time.Second), Faults: p.options.faults, Log: p.log, Seat: p.seat,
		Observe: transaction.Observer{
			Lane: func(s transaction.Sight) {
				p.metrics.Lane(s.Lane.Key, s.Open, s.Window, s.Oldest, s.Gap, s.Lane.Halted != "")
			},
			Act:  p.metrics.TransactionEvent,
			End:  p.nudge("confirm"),
			Paid: func(l transaction.Lane, fee *big.Int) { p.metrics.Paid(l.Key, fee) },
			Coin: func(l transaction.Lane, balance *big.Int) { p.metrics.Balance(l.Key, balance) },
		},
	})
}

// nudge has an action's controller learn at once that what the steps' messages wait for has happened, whichever process it is in.
func (p *platform) nudge(action string) func([]signer.Step) {
	return func(steps []signer.Step) {
		ids := make([]message.ID, len(steps))
		for i, s := range steps {
			ids[i] = s.Message
		}
		p.control.Nudge(action, ids...)
	}
}

// desk is where operators ask about transactions.
func (p *platform) desk() *transaction.Desk {
	return &transaction.Desk{Keeper: p.keeper, Journal: p.storage.transactions, Contracts: p.bound}
}

// feePolicyOf is what the transaction of a step may cost: the policy of its message's type.
func (p *platform) feePolicyOf(ctx context.Context, step signer.Step) (chain.FeePolicy, error) {
	if step.Message == "" { // a nonce that was filled
		return p.fees.Default, nil
	}
	rec, _, err := p.storage.record.Get(ctx, step.Message)
	if err != nil {
		return chain.FeePolicy{}, err
	}
	return p.fees.For(rec.Type), nil
}

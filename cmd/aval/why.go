package main

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
)

// most is of how many transactions of a message is told why they are where they are.
const most = 10

// why explains where a message stands; for one that has signed transactions it says where these stand, and asks the chain. What
// operators have written, and what they alone can do, is for operators.
func (p *platform) why(ctx context.Context, id message.ID, operator bool) (guarantee.Why, error) {
	rec, history, err := p.storage.record.Get(ctx, id)
	if err != nil {
		return guarantee.Why{}, err
	}
	answer := guarantee.Explain(rec, history, time.Now())
	calls, err := p.storage.record.Open(ctx, id)
	if err != nil {
		return answer, err
	}
	answer.Awaits(calls)
	if !operator {
		answer.Outside()
	}
	desk := p.desk()
	all, err := desk.List(ctx, transaction.Query{Message: id})
	for _, r := range all[:min(len(all), most)] {
		t := transaction.ID{Key: r.Transaction.Key, Nonce: r.Transaction.Nonce}
		if r, err = desk.Show(ctx, t); err != nil {
			return answer, err
		}
		if !operator {
			answer.Facts = append(answer.Facts, fmt.Sprintf("Its transaction has nonce %d of %s. %s", t.Nonce, r.Lane.Address, r.Public()))
			continue
		}
		answer.Facts = append(answer.Facts, fmt.Sprintf("Its transaction is %s, nonce %d of %s. %s", t, t.Nonce, r.Lane.Address, r.Sentence))
		answer.Facts = append(answer.Facts, r.Facts...)
		switch {
		case rec.Status.Terminal() || r.Remedy == "":
		case answer.Remedy == "":
			answer.Remedy = r.Remedy
		default:
			answer.Facts = append(answer.Facts, r.Remedy)
		}
	}
	return answer, err
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// why explains where a message stands; for one that has sent a transaction it asks the chain as well.
func (p *platform) why(ctx context.Context, id message.ID) (guarantee.Why, error) {
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
	var ext struct {
		Transaction struct {
			Hash  string `json:"hash"`
			Nonce uint64 `json:"nonce"`
			From  string `json:"from"`
		} `json:"transaction"`
	}
	if rec.Ext != nil {
		if err := json.Unmarshal(rec.Ext, &ext); err != nil {
			return answer, fmt.Errorf("read the ext of %s: %w", id, err)
		}
	}
	if ext.Transaction.Hash == "" {
		return answer, nil
	}
	tx := ext.Transaction
	answer.Facts = append(answer.Facts, fmt.Sprintf("Its transaction is %s, nonce %d of %s.", tx.Hash, tx.Nonce, tx.From))
	answer.Facts = append(answer.Facts, p.asked(ctx, tx.Hash))
	return answer, nil
}

// asked is what the chain says of a transaction now.
func (p *platform) asked(ctx context.Context, hash string) string {
	status, err := p.network.Status(ctx, []string{hash})
	switch {
	case err != nil:
		return "The chain could not be asked: " + err.Error() + "."
	case status[0].State == chain.Mined && !status[0].Success:
		return fmt.Sprintf("The chain has it in block %d, where it reverted.", status[0].Block)
	case status[0].State == chain.Mined:
		return fmt.Sprintf("The chain has it in block %d, %d of %d confirmations.", status[0].Block, status[0].Depth, p.config.Chain.Confirmations)
	case status[0].State == chain.Pending:
		return "The node has it, and no block holds it yet."
	}
	return "The node does not know it; Aval sends its stored bytes again."
}

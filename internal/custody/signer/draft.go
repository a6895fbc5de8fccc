package signer

import (
	"encoding/json"
	"fmt"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// Draft is for backends: it checks what Decide was given and makes the decisions but for their nonces, with the
// transactions as JSON. A transaction of another chain or sender than the key's would take a nonce and never be signed.
func Draft(lease key.Lease, steps []Step, txs []chain.Unsigned) ([]Decision, [][]byte, error) {
	if len(steps) != len(txs) {
		return nil, nil, fmt.Errorf("decide %d steps with %d transactions", len(steps), len(txs))
	}
	decisions, bodies := make([]Decision, len(steps)), make([][]byte, len(steps))
	for i, tx := range txs {
		if err := fits(tx, lease.Key); err != nil {
			return nil, nil, err
		}
		body, err := json.Marshal(tx)
		if err != nil {
			return nil, nil, fmt.Errorf("encode the transaction for %s at %s: %w", steps[i].Message, steps[i].State, err)
		}
		bodies[i] = body
		decisions[i] = Decision{Step: steps[i], Key: lease.Key.ID, Chain: lease.Key.Chain, Fence: lease.Fence, Tx: tx}
	}
	return decisions, bodies, nil
}

func fits(tx chain.Unsigned, k key.Key) error {
	if tx.Chain == k.Chain && tx.From == k.Address {
		return nil
	}
	return problem.New(ErrMismatch.Kind, ErrMismatch.Code, "the transaction is from %s on %s, but the key %s is %s on %s", tx.From, tx.Chain, k.ID, k.Address, k.Chain)
}

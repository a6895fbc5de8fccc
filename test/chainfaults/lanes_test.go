//go:build nodes

package chainfaults

import (
	"math/big"
	"slices"
	"testing"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
)

// standard is the fee policy that aval serve has when nothing is configured.
var standard = chain.FeePolicy{Percentile: 50, Patience: 5}

// patient is one by which nothing is raised only because it waits.
var patient = chain.FeePolicy{Patience: 50}

// TestI12ALaneGoesOn: in the middle of a lane is one with too little gas, which no node takes, and later one that offers less
// than any block asks. Blocks come each second; none of those behind waits for more than three of them.
func TestI12ALaneGoesOn(t *testing.T) {
	for name, how := range map[string]starter{"geth": nodes.Geth, "anvil": nodes.Anvil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, start(t, how, nodes.Options{}), setup{policy: standard})
			r.confirmed(t, r.send(t, 2, nil), nil) // blocks that are not empty
			r.goesOn(t, "too little gas", transaction.NoOp, func(tx *chain.Unsigned) { tx.Gas = 20_000 })
			r.goesOn(t, "too low a price", transaction.Raise, func(tx *chain.Unsigned) { tx.Fee, tx.Tip = big.NewInt(1), big.NewInt(1) })
			r.check(t)
		})
	}
}

// goesOn sends nine, the fifth of them spoilt, and wants to see how it was helped and that nothing waited for long.
func (r *room) goesOn(t *testing.T, what string, want transaction.Kind, spoil func(*chain.Unsigned)) {
	t.Helper()
	const nine, fifth = 9, 4
	steps := r.send(t, nine, only(fifth, spoil))
	all := r.confirmed(t, steps, nil)
	var blocks []uint64
	for i, tx := range all {
		blocks = append(blocks, tx.Fate.Block)
		a, _ := tx.Ended()
		if i == fifth && a.Kind != want || i != fifth && len(tx.Attempts) != 1 {
			t.Errorf("%s: transaction %d of %d was mined as %s, attempt %d, events %v", what, i, nine, a.Kind, a.Number, words(r.events(t, tx)))
		}
	}
	if waited := slices.Max(blocks) - blocks[fifth-1]; waited > 3 {
		t.Errorf("%s: the lane went on after %d blocks: %v (I12)", what, waited, blocks)
	}
	t.Logf("%s: mined in blocks %v", what, blocks)
}

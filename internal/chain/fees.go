package chain

import (
	"context"
	"math/big"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// Price is what a transaction offers for a unit of gas, in the chain's smallest unit.
type Price struct {
	Fee    *big.Int // most to pay; all of it is paid when Legacy
	Tip    *big.Int // of that, for the block's builder; nil when Legacy
	Legacy bool     // the transaction has one gas price, as on chains without a base fee
}

// Price is what the transaction offers.
func (tx Unsigned) Price() Price { return Price{Fee: tx.Fee, Tip: tx.Tip, Legacy: tx.Legacy} }

// Priced is the transaction with another price and the same to, value, data and gas: the one replacement that I6 allows.
func (tx Unsigned) Priced(p Price) Unsigned {
	tx.Fee, tx.Tip, tx.Legacy = p.Fee, p.Tip, p.Legacy
	return tx
}

// Quote is what a chain asks at present.
type Quote struct {
	Price             // what to offer: with room for the base fee to rise
	Least    *big.Int // the least fee that holds for the next blocks, without that room
	GasLimit uint64   // of the newest block: no transaction can use more
}

// Market is the port to what a chain asks for a unit of gas. Durability: none, a quote is an opinion of the moment. Ordering: a
// later quote replaces an earlier one. Consistency: quotes can be some seconds old. Errors are those of Network. Its suite is
// chaintest.
type Market interface {
	// Quote is the price that would have paid for the percentile (1 to 99; 0 means 50) of the newest blocks' transactions.
	Quote(ctx context.Context, percentile int) (Quote, error)
}

// FeePolicy says what transactions of one kind may cost and how long they may take. The zero value sets no limit.
type FeePolicy struct {
	Percentile int           // of the tips in the newest blocks, 1 to 99: how urgent it is; 0 means 50
	Ceiling    *big.Int      // most to offer for a unit of gas; nil: no limit
	Budget     *big.Int      // most to pay for gas in total; of a transaction and its replacements one is mined; nil: no limit
	Patience   uint64        // blocks to wait in vain before a replacement offers more; 0: nothing is replaced
	Deadline   time.Duration // after it was signed, when it is not worth while any longer and is cancelled; 0: no deadline
}

// FeePolicies are the policies of an installation's message types.
type FeePolicies struct {
	Default FeePolicy
	Types   map[string]FeePolicy // by message type
}

// For is the policy of a message type.
func (p FeePolicies) For(messageType string) FeePolicy {
	if own, ok := p.Types[messageType]; ok {
		return own
	}
	return p.Default
}

// Offer is the price for a first transaction with that much gas: the quote's, or less where ceiling or budget are lower and
// the next blocks would still take it. fee-too-high and fee-budget-exceeded (Unavailable) otherwise: nothing is signed until
// the chain is cheaper.
func (p FeePolicy) Offer(q Quote, gas uint64) (Price, error) {
	least := q.Least
	if q.Legacy || least == nil {
		least = q.Fee
	}
	return p.within(q.Price, least, gas)
}

// Raise is the price for a replacement of a transaction that offers the earlier price: the quote's, and never less than nodes
// ask of a replacement (Bump). fee-too-high and fee-budget-exceeded when not even that is allowed: the earlier one stays.
func (p FeePolicy) Raise(earlier Price, q Quote, gas uint64) (Price, error) {
	least := Bump(earlier, q.Legacy)
	raised := Price{Fee: larger(least.Fee, q.Fee), Legacy: q.Legacy}
	if !q.Legacy {
		raised.Tip = larger(least.Tip, q.Tip)
	}
	return p.within(raised, least.Fee, gas)
}

// Bump is the least price with which nodes take a replacement: a tenth more, in both fields, rounded up, and at least 1 more.
// With legacy it is a gas price for a chain that takes no other.
func Bump(earlier Price, legacy bool) Price {
	tip := earlier.Tip
	if earlier.Legacy || tip == nil {
		tip = earlier.Fee // a gas price is both
	}
	if legacy {
		return Price{Fee: tenthMore(larger(earlier.Fee, tip)), Legacy: true}
	}
	return Price{Fee: tenthMore(earlier.Fee), Tip: tenthMore(tip)}
}

// within lowers a price to the policy's limits, but not below least.
func (p FeePolicy) within(want Price, least *big.Int, gas uint64) (Price, error) {
	fee := want.Fee
	if p.Ceiling != nil && fee.Cmp(p.Ceiling) > 0 {
		if p.Ceiling.Cmp(least) < 0 {
			return Price{}, problem.New(problem.Unavailable, "fee-too-high",
				"a unit of gas would cost %s wei or more, above the limit of %s: wait until the chain is cheaper, or raise the limit (chain.max_fee)", least, p.Ceiling)
		}
		fee = p.Ceiling
	}
	if p.Budget != nil && gas > 0 {
		units := new(big.Int).SetUint64(gas)
		if most := new(big.Int).Quo(p.Budget, units); fee.Cmp(most) > 0 {
			if most.Cmp(least) < 0 {
				return Price{}, problem.New(problem.Unavailable, "fee-budget-exceeded",
					"%d units of gas would cost %s wei or more, above the budget of %s: wait until the chain is cheaper, or raise the budget of the message type (chain.fees)",
					gas, units.Mul(units, least), p.Budget)
			}
			fee = most
		}
	}
	return Price{Fee: fee, Tip: smaller(want.Tip, fee), Legacy: want.Legacy}, nil
}

func tenthMore(n *big.Int) *big.Int {
	if n == nil {
		return big.NewInt(1)
	}
	more := new(big.Int).Mul(n, big.NewInt(11))
	more.Add(more, big.NewInt(9)).Quo(more, big.NewInt(10)) // rounded up
	if more.Cmp(n) <= 0 {
		more.Add(n, big.NewInt(1))
	}
	return more
}

func larger(a, b *big.Int) *big.Int {
	if a == nil || b != nil && b.Cmp(a) > 0 {
		return b
	}
	return a
}

// smaller keeps nil.
func smaller(a, b *big.Int) *big.Int {
	if a != nil && b.Cmp(a) < 0 {
		return b
	}
	return a
}

package evm

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// FeeKind says how transactions are priced.
type FeeKind string

// The kinds.
const (
	FeeAuto    FeeKind = "auto"    // by the newest block: EIP1559 when it has a base fee
	FeeDynamic FeeKind = "eip1559" // a most per unit of gas and a tip
	FeeLegacy  FeeKind = "legacy"  // one gas price, in transactions of type 0 with a chain id (EIP-155)
)

const usual = 50 // the percentile where none is given

// fees are the newest quotes, by percentile. Their numbers are shared by transactions and never changed in place.
type fees struct {
	mu     sync.Mutex
	quotes map[int]chain.Quote
	asked  []int // percentiles wanted so far, rising, as eth_feeHistory wants them
	until  time.Time
}

var _ chain.Market = (*Network)(nil)

// Quote asks for the fees of the newest blocks, at most once every FeeAge for all percentiles together.
func (n *Network) Quote(ctx context.Context, percentile int) (chain.Quote, error) {
	if percentile == 0 {
		percentile = usual
	}
	if percentile < 1 || percentile > 99 {
		return chain.Quote{}, problem.New(problem.Invalid, "config-invalid", "fees are taken from the percentiles 1 to 99, not %d", percentile)
	}
	n.fees.mu.Lock()
	defer n.fees.mu.Unlock()
	if quote, ok := n.fees.quotes[percentile]; ok && time.Now().Before(n.fees.until) {
		return quote, nil
	}
	if at, found := slices.BinarySearch(n.fees.asked, percentile); !found {
		n.fees.asked = slices.Insert(n.fees.asked, at, percentile)
	}
	told, err := n.survey(ctx, n.fees.asked)
	if err != nil {
		return chain.Quote{}, err
	}
	quotes := make(map[int]chain.Quote, len(n.fees.asked))
	for at, p := range n.fees.asked {
		if quotes[p], err = n.quote(told, at); err != nil {
			return chain.Quote{}, err
		}
	}
	n.fees.quotes, n.fees.until = quotes, time.Now().Add(n.config.FeeAge)
	return quotes[percentile], nil
}

// forgetFees makes the next quote a new one.
func (n *Network) forgetFees() {
	n.fees.mu.Lock()
	defer n.fees.mu.Unlock()
	n.fees.until = time.Time{}
}

// market is what the node tells about fees.
type market struct {
	head struct {
		BaseFee  *hexutil.Big   `json:"baseFeePerGas"`
		GasLimit hexutil.Uint64 `json:"gasLimit"`
	}
	history struct {
		BaseFees []*hexutil.Big   `json:"baseFeePerGas"` // the last is of the next block
		Used     []float64        `json:"gasUsedRatio"`
		Rewards  [][]*hexutil.Big `json:"reward"` // by block, by percentile
	}
	tip, price *hexutil.Big // what the node suggests; nil where it does not know the question
}

// voices is how many nodes are asked what gas is needed and what a unit of it costs, where there are so many: of three, one that
// lies changes nothing.
const voices = 3

// survey asks several nodes, in one round trip each.
func (n *Network) survey(ctx context.Context, percentiles []int) ([]*market, error) {
	return among(ctx, n, min(voices, len(n.endpoints)), 2, func(ctx context.Context, e *endpoint) (*market, error) {
		return e.survey(ctx, percentiles)
	})
}

// survey asks this node. One of an older kind answers only some of it.
func (e *endpoint) survey(ctx context.Context, percentiles []int) (*market, error) {
	m := &market{}
	elems := []rpc.BatchElem{
		request(&m.head, "eth_getBlockByNumber", "latest", false),
		request(&m.history, "eth_feeHistory", hexutil.Uint64(e.config.FeeBlocks), "latest", percentiles),
		request(&m.tip, "eth_maxPriorityFeePerGas"),
		request(&m.price, "eth_gasPrice"),
	}
	if err := e.batch(ctx, elems); err != nil {
		return nil, err
	}
	if err := elems[0].Error; err != nil {
		return nil, e.unanswered(elems[0].Method, err)
	}
	if errs := []error{elems[1].Error, elems[2].Error, elems[3].Error}; !slices.Contains(errs, nil) {
		return nil, e.unanswered("the question for fees", errors.Join(errs...))
	}
	return m, nil
}

// quote prices one percentile: the one with that place in the list that was asked for. Of what several nodes tell the median
// counts. Where that is between two, what costs nothing when it is wrong: the higher base fee and limit, the lower tip.
func (n *Network) quote(told []*market, at int) (chain.Quote, error) {
	dynamic := each(told, func(m *market) *big.Int { return m.next() })
	legacy, err := n.legacy(2*len(dynamic) > len(told))
	if err != nil {
		return chain.Quote{}, err
	}
	var base *big.Int
	if 2*len(dynamic) > len(told) {
		base = dynamic[len(dynamic)/2]
	}
	tips := each(told, func(m *market) *big.Int { return n.tip(m, at) })
	limits := each(told, func(m *market) *big.Int { return new(big.Int).SetUint64(uint64(m.head.GasLimit)) })
	tip, quote := tips[(len(tips)-1)/2], chain.Quote{GasLimit: limits[len(limits)/2].Uint64()}
	switch {
	case legacy && base == nil:
		quote.Price = chain.Price{Fee: tip, Legacy: true}
	case legacy: // all of it is paid, so there is little room: two full blocks
		quote.Price = chain.Price{Fee: sum(times(base, 5, 4), tip), Legacy: true}
	default:
		room := new(big.Int).Lsh(base, n.config.Headroom)
		quote.Price = chain.Price{Fee: room.Add(room, tip), Tip: tip}
		quote.Least = sum(times(base, 9, 8), tip)
	}
	if quote.Fee.Sign() == 0 {
		quote.Fee = big.NewInt(1) // a chain that asks for nothing; a transaction says something
	}
	return quote, nil
}

// each is what the nodes tell of one thing, rising, without those that do not tell it.
func each(told []*market, of func(*market) *big.Int) (all []*big.Int) {
	for _, m := range told {
		if number := of(m); number != nil {
			all = append(all, number)
		}
	}
	slices.SortFunc(all, (*big.Int).Cmp)
	return all
}

// legacy tells whether transactions have one gas price, given whether blocks have a base fee.
func (n *Network) legacy(based bool) (bool, error) {
	switch {
	case n.config.FeeKind == FeeLegacy:
		return true, nil
	case based:
		return false, nil
	case n.config.FeeKind == FeeDynamic:
		return false, problem.New(problem.Unprocessable, "chain-unsupported",
			"%s has no base fee (EIP-1559): set chain.fees.kind to auto or legacy", n.ID())
	}
	return true, nil
}

// next is the base fee of the next block, nil on a chain without.
func (m *market) next() *big.Int {
	if m.head.BaseFee == nil {
		return nil
	}
	if all := m.history.BaseFees; len(all) > 0 && all[len(all)-1] != nil {
		return all[len(all)-1].ToInt()
	}
	return times(m.head.BaseFee.ToInt(), 9, 8) // the most that it can be
}

// tip is the median over the newest blocks of what their percentile paid beyond the base fee. Empty blocks say nothing; when all
// are empty the node's suggestion counts. Never less than MinTip.
func (n *Network) tip(m *market, at int) *big.Int {
	var paid []*big.Int
	for block, rewards := range m.history.Rewards {
		if at < len(rewards) && rewards[at] != nil && block < len(m.history.Used) && m.history.Used[block] > 0 {
			paid = append(paid, rewards[at].ToInt())
		}
	}
	tip := new(big.Int)
	switch {
	case len(paid) > 0:
		slices.SortFunc(paid, (*big.Int).Cmp)
		tip = paid[len(paid)/2]
	case m.head.BaseFee == nil && m.price != nil:
		tip = m.price.ToInt()
	case m.tip != nil:
		tip = m.tip.ToInt()
	}
	if n.config.MinTip != nil && tip.Cmp(n.config.MinTip) < 0 {
		return n.config.MinTip
	}
	return tip
}

func times(n *big.Int, by, over int64) *big.Int {
	product := new(big.Int).Mul(n, big.NewInt(by))
	return product.Quo(product, big.NewInt(over))
}

func sum(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }

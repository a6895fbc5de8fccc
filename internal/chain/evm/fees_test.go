package evm_test

import (
	"errors"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
)

// headBlock is the newest block, with the lock held.
func (n *node) headBlock() object {
	block := object{"hash": n.blocks[n.head], "gasLimit": hexutil.Uint64(max(n.limit, 30_000_000))}
	if n.limit > 0 {
		block["gasLimit"] = hexutil.Uint64(n.limit)
	}
	if n.base != nil {
		block["baseFeePerGas"] = (*hexutil.Big)(n.base)
	}
	return block
}

func (n *node) FeeHistory(_ hexutil.Uint64, _ string, percentiles []float64) object {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did("feeHistory")
	bases, used, rewards := []*hexutil.Big{}, []float64{}, [][]*hexutil.Big{}
	for _, block := range n.rewards {
		paid := map[string]string{}
		for entry := range strings.FieldsSeq(block) {
			percentile, reward, _ := strings.Cut(entry, ":")
			paid[percentile] = reward
		}
		row := make([]*hexutil.Big, len(percentiles))
		for i, p := range percentiles {
			reward, _ := strconv.ParseInt(paid[strconv.Itoa(int(p))], 10, 64) // 0 in an empty block
			row[i] = (*hexutil.Big)(big.NewInt(reward))
		}
		bases, used, rewards = append(bases, (*hexutil.Big)(big.NewInt(1))), append(used, min(1, float64(len(block)))), append(rewards, row)
	}
	if n.base != nil {
		bases = append(bases, (*hexutil.Big)(n.base))
	}
	return object{"baseFeePerGas": bases, "gasUsedRatio": used, "reward": rewards}
}

func (n *node) MaxPriorityFeePerGas() (*hexutil.Big, error) {
	switch {
	case n.base == nil:
		return nil, errors.New("the method eth_maxPriorityFeePerGas does not exist")
	case n.tip != nil:
		return (*hexutil.Big)(n.tip), nil
	}
	return (*hexutil.Big)(big.NewInt(5)), nil
}

func (n *node) GasPrice() (*hexutil.Big, error) {
	if n.price == nil {
		return nil, errors.New("the method eth_gasPrice does not exist")
	}
	return (*hexutil.Big)(n.price), nil
}

// plain is a transfer without data, and a call with.
func plain(policy chain.FeePolicy) []chain.Call {
	return []chain.Call{
		{From: checksummed[0], To: strings.ToLower(checksummed[1]), Fees: policy},
		{From: checksummed[0], To: checksummed[1], Data: []byte{1, 2, 3, 4}, Fees: policy},
	}
}

func TestFeesFollowTheBaseFee(t *testing.T) {
	n := &node{base: big.NewInt(100)}
	txs, errs := dial(t, evm.Config{URLs: []string{serve(t, n)}, Headroom: 3, GasMargin: 50}).Build(t.Context(), plain(chain.FeePolicy{}))
	must(t, errors.Join(errs...))
	for i, gas := range []uint64{21_000, 150_000} {
		if tx := txs[i]; tx.Fee.Int64() != 805 || tx.Tip.Int64() != 5 || tx.Gas != gas || tx.To != checksummed[1] || tx.Chain != "eip155:1" || tx.Value == nil || tx.Legacy {
			t.Errorf("call %d is built as %+v", i, tx)
		}
	}
}

// TestTipsAreThePercentilesOfTheNewestBlocks: the median over the blocks that were not empty, and not below the floor.
func TestTipsAreThePercentilesOfTheNewestBlocks(t *testing.T) {
	n := &node{base: big.NewInt(100), rewards: []string{"10:1 50:10 90:100", "", "10:2 50:20 90:1000000", "10:3 50:30 90:300", ""}}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, MinTip: big.NewInt(3)})
	for percentile, want := range map[int]int64{0: 20, 50: 20, 90: 300, 10: 3} {
		quote, err := network.Quote(t.Context(), percentile)
		must(t, err)
		if quote.Tip.Int64() != want || quote.Fee.Int64() != 200+want || quote.Least.Int64() != 112+want || quote.GasLimit != 30_000_000 {
			t.Errorf("the quote for %d is %+v", percentile, quote)
		}
	}
	if n.asked["feeHistory"] > 3 {
		t.Errorf("three percentiles took %d questions", n.asked["feeHistory"])
	}
	if _, err := network.Quote(t.Context(), 100); !is(err, "config-invalid") {
		t.Errorf("the percentile 100: %v", err)
	}
}

// TestChainsWithoutABaseFee: one gas price, found out or configured.
func TestChainsWithoutABaseFee(t *testing.T) {
	old := &node{price: big.NewInt(70)}
	paid := &node{price: big.NewInt(70), rewards: []string{"50:60", "50:90", "50:80"}}
	modern := &node{base: big.NewInt(100), price: big.NewInt(70)}
	for _, test := range []struct {
		name string
		node *node
		kind evm.FeeKind
		want int64
	}{{"suggested", old, "", 70}, {"paid by others", paid, "", 80}, {"configured", modern, evm.FeeLegacy, 130}} {
		network := dial(t, evm.Config{URLs: []string{serve(t, test.node)}, FeeKind: test.kind})
		txs, errs := network.Build(t.Context(), plain(chain.FeePolicy{}))
		must(t, errors.Join(errs...))
		if !txs[0].Legacy || txs[0].Fee.Int64() != test.want || txs[0].Tip != nil {
			t.Errorf("%s: %+v", test.name, txs[0])
		}
		by := newKey(t)
		txs[0].From = by.Address()
		digest, err := network.Codec().Digest(txs[0], 9)
		must(t, err)
		signed, err := network.Codec().Assemble(txs[0], 9, signature(t, by, digest))
		must(t, err)
		got, err := network.Codec().Decode(signed.Raw)
		if err != nil || got.Nonce != 9 || !got.Tx.Legacy || got.Tx.Fee.Cmp(txs[0].Fee) != 0 || got.Tx.From != by.Address() {
			t.Errorf("%s is decoded as %+v (%v)", test.name, got, err)
		}
	}
	network := dial(t, evm.Config{URLs: []string{serve(t, &node{price: big.NewInt(7)})}, FeeKind: evm.FeeDynamic})
	if _, err := network.Quote(t.Context(), 50); !is(err, "chain-unsupported") {
		t.Errorf("EIP-1559 where there is no base fee: %v", err)
	}
	network = dial(t, evm.Config{URLs: []string{serve(t, &node{})}, FeeKind: evm.FeeLegacy})
	quote, err := network.Quote(t.Context(), 50)
	must(t, err)
	if quote.Fee.Int64() != 1 {
		t.Errorf("where nothing is asked it offers %s", quote.Fee)
	}
}

// TestLimitsHoldBeforeAnythingIsSigned: the fee a unit, the budget in total, the gas of a block.
func TestLimitsHoldBeforeAnythingIsSigned(t *testing.T) {
	n := &node{base: big.NewInt(100)} // 205 wanted, 117 is the least
	url := serve(t, n)
	for _, test := range []struct {
		policy     chain.FeePolicy
		fee, wider int64 // of the transfer (21,000) and of the call (120,000)
		code       string
	}{
		{chain.FeePolicy{Ceiling: big.NewInt(204)}, 204, 204, ""},
		{chain.FeePolicy{Ceiling: big.NewInt(117)}, 117, 117, ""},
		{chain.FeePolicy{Ceiling: big.NewInt(116)}, 0, 0, "fee-too-high"},
		{chain.FeePolicy{Budget: big.NewInt(120_000 * 205)}, 205, 205, ""},
		{chain.FeePolicy{Budget: big.NewInt(120_000*205 - 1)}, 205, 204, ""},
		{chain.FeePolicy{Budget: big.NewInt(120_000*117 - 1)}, 205, 0, "fee-budget-exceeded"},
		{chain.FeePolicy{Budget: big.NewInt(21_000*117 - 1)}, 0, 0, "fee-budget-exceeded"},
	} {
		txs, errs := dial(t, evm.Config{URLs: []string{url}}).Build(t.Context(), plain(test.policy))
		for i, want := range []int64{test.fee, test.wider} {
			switch {
			case want == 0 && !is(errs[i], test.code):
				t.Errorf("%+v: call %d answers %v", test.policy, i, errs[i])
			case want != 0 && (errs[i] != nil || txs[i].Fee.Int64() != want):
				t.Errorf("%+v: call %d is %+v (%v)", test.policy, i, txs[i], errs[i])
			}
		}
	}
	n.limit = 110_000
	txs, errs := dial(t, evm.Config{URLs: []string{url}}).Build(t.Context(), plain(chain.FeePolicy{}))
	must(t, errors.Join(errs...))
	if txs[1].Gas != 110_000 {
		t.Errorf("the margin ends at %d, not at the block's limit", txs[1].Gas)
	}
	n.needs = 110_001
	if _, errs = dial(t, evm.Config{URLs: []string{url}}).Build(t.Context(), plain(chain.FeePolicy{})); errs[0] != nil || !is(errs[1], "gas-above-limit") {
		t.Errorf("more gas than a block has: %v", errs)
	}
	n.limit, n.needs = 60_000_000, 15_000_000
	txs, errs = dial(t, evm.Config{URLs: []string{url}}).Build(t.Context(), plain(chain.FeePolicy{}))
	must(t, errors.Join(errs...))
	if txs[1].Gas != 1<<24 {
		t.Errorf("the margin ends at %d, not at 2^24 (EIP-7825)", txs[1].Gas)
	}
}

// TestOneLyingNodeSetsNoPrice: whatever one of three tells of fees, in either direction, the price is that of the other two. Of two
// that disagree no tip is paid that only one of them asks for.
func TestOneLyingNodeSetsNoPrice(t *testing.T) {
	honest := func() *node {
		return &node{base: big.NewInt(100), blocks: map[uint64]common.Hash{0: {1}}, rewards: []string{"50:5"}}
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 200)
	lies := map[string]func(*node){
		"nothing":          func(*node) {},
		"a base fee":       func(n *node) { n.base = huge },
		"no base fee":      func(n *node) { n.base, n.price = nil, huge },
		"a base fee of 1":  func(n *node) { n.base = big.NewInt(1) },
		"a tip":            func(n *node) { n.rewards = []string{"50:9000000000000000000"} },
		"a tip of nothing": func(n *node) { n.rewards = []string{"50:0"} },
		"tiny blocks":      func(n *node) { n.limit = 1 },
		"nothing at all":   func(n *node) { n.status = http.StatusBadGateway },
	}
	for lie, bend := range lies {
		for liar := range 3 {
			var urls []string
			for i := range 3 {
				n := honest()
				urls = append(urls, serve(t, n))
				if i == liar {
					bend(n)
				}
			}
			quote, err := dial(t, evm.Config{URLs: urls, ChainID: 1}).Quote(t.Context(), 0)
			must(t, err)
			if quote.Fee.Int64() != 205 || quote.Tip.Int64() != 5 || quote.Least.Int64() != 117 || quote.GasLimit != 30_000_000 || quote.Legacy {
				t.Errorf("node %d of three tells %s: %+v", liar, lie, quote)
			}
		}
	}
	good, bad := honest(), honest()
	lies["a tip"](bad)
	quote, err := dial(t, evm.Config{URLs: []string{serve(t, bad), serve(t, good)}, ChainID: 1}).Quote(t.Context(), 0)
	must(t, err)
	if quote.Tip.Int64() != 5 {
		t.Errorf("the worse of two tips is paid: %s", quote.Tip)
	}
}

package evm

import (
	"context"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// callArguments are the arguments of eth_estimateGas and eth_call.
type callArguments struct {
	From  *common.Address `json:"from,omitempty"`
	To    *common.Address `json:"to"`
	Value *hexutil.Big    `json:"value,omitempty"`
	Data  hexutil.Bytes   `json:"input,omitempty"`
	Fee   *hexutil.Big    `json:"maxFeePerGas,omitempty"`
	Tip   *hexutil.Big    `json:"maxPriorityFeePerGas,omitempty"`
}

// Build estimates gas and fees: one round trip, and one more every FeeAge. The estimate runs each call against the newest
// block with the fee it will offer, so a sender who cannot pay for value and gas is refused here, before a nonce is spent.
func (n *Network) Build(ctx context.Context, calls []chain.Call) ([]chain.Unsigned, []error) {
	txs, errs := make([]chain.Unsigned, len(calls)), make([]error, len(calls))
	fee, tip, err := n.currentFees(ctx)
	if err != nil {
		return txs, fill(errs, err)
	}
	gas := make([]hexutil.Uint64, len(calls))
	elems, index := make([]rpc.BatchElem, 0, len(calls)), make([]int, 0, len(calls))
	for i, call := range calls {
		args, err := estimateArguments(call, fee, tip)
		if err != nil {
			errs[i] = err
			continue
		}
		elems, index = append(elems, request(&gas[i], "eth_estimateGas", args, "latest")), append(index, i)
	}
	coin := newCoin(calls, errs)
	elems = append(elems, coin.requests...)
	coin.requests = elems[len(index):]
	if err := n.batch(ctx, elems); err != nil {
		return txs, fill(errs, err)
	}
	for at, i := range index {
		if elems[at].Error != nil {
			errs[i] = n.refusal(elems[at].Error, fmt.Sprintf("the call from %s to %s", calls[i].From, calls[i].To))
			continue
		}
		tx := n.unsigned(calls[i], uint64(gas[i]), fee, tip)
		if errs[i] = n.affordable(tx, coin); errs[i] == nil {
			txs[i] = tx
		}
	}
	return txs, errs
}

func estimateArguments(call chain.Call, fee, tip *big.Int) (callArguments, error) {
	from, err := parseAddress(call.From)
	if err != nil {
		return callArguments{}, err
	}
	to, err := parseAddress(call.To)
	if err != nil {
		return callArguments{}, err
	}
	value := orZero(call.Value)
	if value.Sign() < 0 || value.BitLen() > 256 {
		return callArguments{}, problem.New(problem.Unprocessable, "amount-invalid", "an amount is between 0 and 2^256-1 of the chain's smallest unit")
	}
	return callArguments{From: &from, To: &to, Value: (*hexutil.Big)(value), Data: call.Data, Fee: (*hexutil.Big)(fee), Tip: (*hexutil.Big)(tip)}, nil
}

// unsigned adds the margin where code runs: what it needs can change until it is mined. A plain transfer's gas cannot.
func (n *Network) unsigned(call chain.Call, gas uint64, fee, tip *big.Int) chain.Unsigned {
	if gas != params.TxGas || len(call.Data) > 0 {
		gas += gas * n.config.GasMargin / 100
	}
	return chain.Unsigned{
		Chain: n.ID(), From: canonical(call.From), To: canonical(call.To), Value: new(big.Int).Set(orZero(call.Value)), Data: call.Data,
		Gas: gas, Fee: fee, Tip: tip,
	}
}

// fees are the newest that the node told. They are shared by transactions and never changed in place.
type fees struct {
	mu       sync.Mutex
	fee, tip *big.Int
	until    time.Time
}

// currentFees asks for the base fee of the next block and the usual tip, at most once every FeeAge.
func (n *Network) currentFees(ctx context.Context) (fee, tip *big.Int, err error) {
	n.fees.mu.Lock()
	defer n.fees.mu.Unlock()
	if time.Now().Before(n.fees.until) {
		return n.fees.fee, n.fees.tip, nil
	}
	if fee, tip, err = n.askFees(ctx); err != nil {
		return nil, nil, err
	}
	n.fees.fee, n.fees.tip, n.fees.until = fee, tip, time.Now().Add(n.config.FeeAge)
	return fee, tip, nil
}

func (n *Network) askFees(ctx context.Context) (fee, tip *big.Int, err error) {
	var history struct {
		BaseFees []*hexutil.Big `json:"baseFeePerGas"`
	}
	var suggested hexutil.Big
	if err := n.read(ctx, []rpc.BatchElem{
		request(&history, "eth_feeHistory", hexutil.Uint64(1), "latest", []float64{}),
		request(&suggested, "eth_maxPriorityFeePerGas"),
	}); err != nil {
		return nil, nil, err
	}
	if len(history.BaseFees) == 0 || history.BaseFees[len(history.BaseFees)-1] == nil {
		return nil, nil, problem.New(problem.Unprocessable, "chain-unsupported", "%s has no base fee (EIP-1559): Aval sends no other kind of transaction", n.ID())
	}
	base := history.BaseFees[len(history.BaseFees)-1].ToInt() // of the next block
	tip = suggested.ToInt()
	fee = new(big.Int).Mul(base, new(big.Int).SetUint64(n.config.FeeMultiplier))
	fee.Add(fee, tip)
	if n.config.MaxFee != nil && fee.Cmp(n.config.MaxFee) > 0 {
		return nil, nil, problem.New(problem.Unavailable, "fee-too-high",
			"%s asks for up to %s wei per unit of gas, more than the limit of %s: wait until it is cheaper, or raise the limit", n.ID(), fee, n.config.MaxFee)
	}
	return fee, tip, nil
}

// forgetFees makes the next Build ask again.
func (n *Network) forgetFees() {
	n.fees.mu.Lock()
	defer n.fees.mu.Unlock()
	n.fees.until = time.Time{}
}

func fill(errs []error, err error) []error {
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
}

func orZero(amount *big.Int) *big.Int {
	if amount == nil {
		return new(big.Int)
	}
	return amount
}

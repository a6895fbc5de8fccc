package evm

import (
	"context"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// callArguments are the arguments of eth_estimateGas and eth_call.
type callArguments struct {
	From  *common.Address `json:"from,omitempty"`
	To    *common.Address `json:"to"`
	Value *hexutil.Big    `json:"value,omitempty"`
	Data  hexutil.Bytes   `json:"input,omitempty"`
	Gas   *hexutil.Uint64 `json:"gas,omitempty"`
	Price *hexutil.Big    `json:"gasPrice,omitempty"`
	Fee   *hexutil.Big    `json:"maxFeePerGas,omitempty"`
	Tip   *hexutil.Big    `json:"maxPriorityFeePerGas,omitempty"`
}

// Build estimates gas and fees: one round trip, and one more every FeeAge. The estimate runs each call against the newest
// block with the fee it will offer, so a sender who cannot pay for value and gas is refused here, before a nonce is spent. Of
// several nodes some are asked: see agreed.
func (n *Network) Build(ctx context.Context, calls []chain.Call) ([]chain.Unsigned, []error) {
	txs, errs := make([]chain.Unsigned, len(calls)), make([]error, len(calls))
	quotes, args := make([]chain.Quote, len(calls)), make([]callArguments, len(calls))
	for i, call := range calls {
		quotes[i], args[i], errs[i] = n.priced(ctx, call)
	}
	if !slices.Contains(errs, nil) {
		return txs, errs
	}
	told, err := among(ctx, n, min(voices, len(n.endpoints)), 1, func(ctx context.Context, e *endpoint) (*opinion, error) {
		return e.estimate(ctx, calls, args, errs)
	})
	if err != nil {
		return txs, fill(errs, err)
	}
	for i, call := range calls {
		if errs[i] != nil {
			continue
		}
		gas, err := n.agreedGas(call, i, told, quotes[i].GasLimit)
		var tx chain.Unsigned
		if err == nil {
			err = n.sound(call, i, told)
		}
		if err == nil {
			tx, err = n.unsigned(call, gas, quotes[i])
		}
		if err == nil {
			err = n.affordable(tx, told)
		}
		if errs[i] = err; err == nil {
			txs[i] = tx
		}
	}
	return txs, errs
}

// priced is what to ask of the node about a call, at the price that it will offer.
func (n *Network) priced(ctx context.Context, call chain.Call) (chain.Quote, callArguments, error) {
	args, err := arguments(call)
	if err != nil {
		return chain.Quote{}, args, err
	}
	quote, err := n.Quote(ctx, call.Fees.Percentile)
	if err != nil {
		return quote, args, err
	}
	price, err := call.Fees.Offer(quote, 0) // the budget waits for the estimate
	if err != nil {
		return quote, args, err
	}
	if price.Legacy {
		args.Price = (*hexutil.Big)(price.Fee)
	} else {
		args.Fee, args.Tip = (*hexutil.Big)(price.Fee), (*hexutil.Big)(price.Tip)
	}
	return quote, args, nil
}

func arguments(call chain.Call) (callArguments, error) {
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
	return callArguments{From: &from, To: &to, Value: (*hexutil.Big)(value), Data: call.Data}, nil
}

func (n *Network) unsigned(call chain.Call, estimated uint64, quote chain.Quote) (chain.Unsigned, error) {
	gas, err := n.gas(call, estimated, quote.GasLimit)
	if err != nil {
		return chain.Unsigned{}, err
	}
	price, err := call.Fees.Offer(quote, gas)
	if err != nil {
		return chain.Unsigned{}, err
	}
	tx := chain.Unsigned{
		Chain: n.ID(), From: canonical(call.From), To: canonical(call.To), Value: new(big.Int).Set(orZero(call.Value)), Data: call.Data, Gas: gas,
	}
	return tx.Priced(price), nil
}

// gas adds the margin where code runs: what it needs can change until it is mined. A plain transfer's gas cannot. The margin
// ends at what one transaction may use: the block's limit, and 2^24 on chains with EIP-7825.
func (n *Network) gas(call chain.Call, estimated, blockLimit uint64) (uint64, error) {
	if blockLimit > 0 && estimated > blockLimit {
		return 0, problem.New(problem.Unprocessable, "gas-above-limit",
			"the call from %s to %s needs %d units of gas, and a block of %s has %d: divide the call into smaller ones", call.From, call.To, estimated, n.ID(), blockLimit)
	}
	if estimated == params.TxGas && len(call.Data) == 0 {
		return estimated, nil
	}
	gas := estimated + estimated*n.config.GasMargin/100
	for _, limit := range []uint64{blockLimit, params.MaxTxGas} {
		if limit >= estimated && gas > limit && limit > 0 {
			gas = limit
		}
	}
	return gas, nil
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

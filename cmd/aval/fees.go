package main

import (
	"math/big"

	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/config"
)

// feePolicies are what the configuration lets transactions cost, by message type.
func feePolicies(c config.Chain) (chain.FeePolicies, error) {
	policies := chain.FeePolicies{Types: make(map[string]chain.FeePolicy, len(c.Fees.Types))}
	base := chain.FeePolicy{}
	if c.MaxFee > 0 {
		base.Ceiling = new(big.Int).Mul(new(big.Int).SetUint64(c.MaxFee), big.NewInt(params.GWei))
	}
	var err error
	if policies.Default, err = feePolicy(base, c.Fees.Default); err != nil {
		return policies, err
	}
	for name, own := range c.Fees.Types {
		if policies.Types[name], err = feePolicy(policies.Default, own); err != nil {
			return policies, err
		}
	}
	return policies, nil
}

// feePolicy is the policy with what is set for a message type.
func feePolicy(p chain.FeePolicy, own config.FeeType) (chain.FeePolicy, error) {
	if own.Percentile != 0 {
		p.Percentile = own.Percentile
	}
	if own.Patience != 0 {
		p.Patience = own.Patience
	}
	if own.Deadline != 0 {
		p.Deadline = own.Deadline
	}
	budget, err := own.Budget.Wei()
	if budget != nil {
		p.Budget = budget
	}
	return p, err
}

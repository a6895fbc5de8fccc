package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

// chainView asks a chain itself, through its JSON-RPC: what it says does not depend on what Aval believes.
type chainView struct{ *ethclient.Client }

func viewChain(ctx context.Context, url string) (*chainView, error) {
	c, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return nil, problem.New(problem.Unavailable, "chain-unreachable", "cannot reach the chain at %s: %w", place(url), err)
	}
	return &chainView{c}, nil
}

// viewOf connects to a chain of the installation that tells its JSON-RPC: a development chain.
func viewOf(ctx context.Context, c *client.Client, id string) (*chainView, error) {
	chains, err := c.Chains(ctx)
	if err != nil {
		return nil, err
	}
	for _, ch := range chains {
		if ch.ID == id && ch.RPC != "" {
			return viewChain(ctx, ch.RPC)
		}
	}
	return nil, problem.New(problem.Unprocessable, "no-development-chain", "%s is no development chain of this installation, so there is no faucet; send coin to the wallet's address instead", id)
}

// faucet pays from the development chain's faucet and waits until that is in a block.
func (v *chainView) faucet(ctx context.Context, address string, wei *big.Int) (*types.Receipt, error) {
	var hash common.Hash
	if err := v.Client.Client().CallContext(ctx, &hash, "dev_faucet", address, (*hexutil.Big)(wei)); err != nil {
		return nil, fmt.Errorf("the development chain's faucet did not pay: %w", err)
	}
	return v.mined(ctx, hash)
}

// mined waits for a transaction's receipt.
func (v *chainView) mined(ctx context.Context, hash common.Hash) (*types.Receipt, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		receipt, err := v.TransactionReceipt(ctx, hash)
		if err == nil || !errors.Is(err, ethereum.NotFound) {
			return receipt, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// holds is an address's balance of an asset at the newest block.
func (v *chainView) holds(ctx context.Context, asset, address string) (*big.Int, error) {
	if asset == "native" {
		return v.BalanceAt(ctx, common.HexToAddress(address), nil)
	}
	data := append(hexutil.MustDecode("0x70a08231"), common.LeftPadBytes(common.HexToAddress(address).Bytes(), 32)...) // balanceOf(address)
	contract := common.HexToAddress(strings.TrimPrefix(asset, "erc20:"))
	raw, err := v.CallContract(ctx, ethereum.CallMsg{To: &contract, Data: data}, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s for a balance: %w", contract, err)
	}
	if len(raw) != 32 {
		return nil, problem.New(problem.Unprocessable, "not-a-token", "the contract %s does not tell balances, so it is no ERC-20 token", contract)
	}
	return new(big.Int).SetBytes(raw), nil
}

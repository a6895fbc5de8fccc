package stage

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

// Chain is a development chain that the process under test does not own, in a folder of its own. It can be restarted.
type Chain struct {
	*devchain.Chain
	Wire *Wire // what the process is told as chain.url
	conf devchain.Config
}

// NewChain starts a chain and a wire to it; both end with the test.
func NewChain(tb testing.TB, folder string) *Chain {
	tb.Helper()
	return NewForeignChain(tb, folder, 0)
}

// NewForeignChain starts a chain with an id of its own; 0 is that of NewChain.
func NewForeignChain(tb testing.TB, folder string, id uint64) *Chain {
	tb.Helper()
	c := &Chain{conf: devchain.Config{
		Folder: filepath.Join(folder, "chain"), ChainID: id, IPC: filepath.Join(folder, "chain.ipc"), BlockTime: 50 * time.Millisecond,
	}}
	if err := c.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	c.Wire = NewWire(tb, c.URL())
	return c
}

func (c *Chain) start(ctx context.Context) (err error) {
	if c.Chain, err = devchain.Start(ctx, c.conf); err != nil {
		return fmt.Errorf("start the chain: %w", err)
	}
	u, err := url.Parse(c.URL())
	if err == nil {
		c.conf.Port, err = strconv.Atoi(u.Port())
	}
	return err
}

// Restart ends the chain and starts it from its folder. What waited in its pool is lost, as on a real node.
func (c *Chain) Restart(ctx context.Context) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("end the chain: %w", err)
	}
	return c.start(ctx)
}

// Pay sends coin from the faucet and waits until it is mined.
func (c *Chain) Pay(ctx context.Context, address string, wei *big.Int) error {
	hash, err := c.Faucet(ctx, address, wei)
	if err != nil {
		return err
	}
	_, err = c.Mined(ctx, hash)
	return err
}

// Mined waits for a transaction's receipt.
func (c *Chain) Mined(ctx context.Context, hash string) (*types.Receipt, error) {
	view, err := ethclient.DialContext(ctx, c.URL())
	if err != nil {
		return nil, err
	}
	defer view.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		receipt, err := view.TransactionReceipt(ctx, common.HexToHash(hash))
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

package evm_test

import (
	"context"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

func TestHeadsAreTold(t *testing.T) {
	for transport, poll := range map[string]time.Duration{"http": 5 * time.Millisecond, "ws": time.Hour, "ipc": time.Hour} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := start(t, devchain.Config{IPC: filepath.Join(t.TempDir(), "ipc"), BlockTime: 5 * time.Millisecond, Trail: 5})
			network := dial(t, evm.Config{URLs: []string{map[string]string{"http": c.URL(), "ws": c.WebSocketURL(), "ipc": c.IPC()}[transport]}, Poll: poll})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			heads := network.Heads(ctx)
			first := <-heads
			_, err := c.Faucet(ctx, checksummed[0], big.NewInt(1))
			must(t, err)
			for head := range heads {
				if head >= first+5 {
					break
				}
			}
			must(t, ctx.Err())
			cancel()
			for range heads { // closed
			}
		})
	}
}

func TestAConnectionThatBreaksIsMadeAgain(t *testing.T) {
	for _, transport := range []string{"http", "ws", "ipc"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			config := devchain.Config{Folder: t.TempDir(), IPC: filepath.Join(t.TempDir(), "ipc"), BlockTime: 5 * time.Millisecond}
			c := start(t, config)
			config.Port = port(t, c)
			network := dial(t, evm.Config{
				URLs: []string{map[string]string{"http": c.URL(), "ws": c.WebSocketURL(), "ipc": c.IPC()}[transport]},
				Poll: 5 * time.Millisecond,
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			heads := network.Heads(ctx)
			before := <-heads
			must(t, c.Close())
			if _, err := network.Head(ctx); !is(err, "chain-unreachable") {
				t.Errorf("while the node is away: %v", err)
			}
			c = start(t, config)
			_, err := c.Faucet(ctx, checksummed[0], big.NewInt(1))
			must(t, err)
			for head := range heads {
				if head > before+2 {
					break
				}
			}
			_, err = network.Head(ctx)
			must(t, err)
		})
	}
}

func TestAReorganisationMovesATransaction(t *testing.T) { // I14
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond, Trail: 12})
	network := dial(t, evm.Config{URLs: []string{c.WebSocketURL()}})
	hash, err := c.Faucet(t.Context(), checksummed[0], big.NewInt(1))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	deep := func() chain.Status {
		for range network.Heads(ctx) {
			statuses, err := network.Status(ctx, []string{hash})
			must(t, err)
			if statuses[0].State == chain.Mined && statuses[0].Depth > 12 { // the trail is over: the head stays where it is
				return statuses[0]
			}
		}
		t.Fatal("the transaction is not mined")
		return chain.Status{}
	}
	for range 5 {
		before := deep()
		must(t, c.Reorg(before.Depth)) // its own block too
		after := deep()
		if after.Hash == before.Hash {
			t.Errorf("after a reorganisation %d deep it is still in block %d %s", before.Depth, after.Block, after.Hash)
		}
	}
	if err := c.Reorg(1000); err == nil {
		t.Error("more blocks are given up than there are")
	}
}

func port(t *testing.T, c *devchain.Chain) int {
	t.Helper()
	_, digits, _ := strings.Cut(strings.TrimPrefix(c.URL(), "http://"), ":")
	n, err := strconv.Atoi(digits)
	must(t, err)
	return n
}

// TestAReplacementBelowATenthIsRefused: what Bump gives is the least that go-ethereum's pool takes, its rounding down allowed for.
func TestAReplacementBelowATenthIsRefused(t *testing.T) {
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond})
	network := dial(t, evm.Config{URLs: []string{c.URL()}})
	by := newAccount(t, c, 1e18)
	tx := chain.Unsigned{
		Chain: network.ID(), From: by.Address(), To: checksummed[1], Value: big.NewInt(1), Gas: 21_000, Fee: big.NewInt(5_000_000_007), Tip: big.NewInt(1_000_000_003),
	}
	send := func(tx chain.Unsigned) error {
		digest, err := network.Codec().Digest(tx, 1) // 0 is missing, so it waits
		must(t, err)
		signed, err := network.Codec().Assemble(tx, 1, signature(t, by, digest))
		must(t, err)
		return network.Send(t.Context(), [][]byte{signed.Raw})[0]
	}
	must(t, send(tx))
	least := chain.Bump(tx.Price(), false)
	for field, less := range map[string]chain.Price{
		"fee": {Fee: new(big.Int).Sub(least.Fee, big.NewInt(2)), Tip: least.Tip}, "tip": {Fee: least.Fee, Tip: new(big.Int).Sub(least.Tip, big.NewInt(2))},
	} {
		if err := send(tx.Priced(less)); !is(err, "transaction-refused") {
			t.Errorf("with too low a %s: %v", field, err)
		}
	}
	must(t, send(tx.Priced(least)))
}

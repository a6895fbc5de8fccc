//go:build nodes

package evm_test

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// TestAnvilThroughFaultsLosesNothing sends the transactions of four accounts through three endpoints that err, lie, limit and
// swallow answers, to a chain that is reorganised 1 to 12 deep, whose pool is emptied and whose node is restarted. What the chain
// lost is sent again from the same bytes. At the end it has each of them once, by the hashes that were signed (I5, I6, I12, I13).
func TestAnvilThroughFaultsLosesNothing(t *testing.T) {
	t.Parallel()
	node := startNode(t, nodes.Anvil, nodes.Options{BlockTime: 100 * time.Millisecond})
	var proxies []*nodes.Proxy
	config := evm.Config{ChainID: node.ChainID(), Timeout: 300 * time.Millisecond, Poll: 20 * time.Millisecond, FeeAge: time.Hour}
	for range 3 {
		p := nodes.NewProxy(node.URL())
		t.Cleanup(p.Close)
		proxies, config.URLs = append(proxies, p), append(config.URLs, p.URL)
	}
	network := dial(t, config)
	raw, hashes := signedFor(t, network, node, 4, 25)
	must(t, node.Mine(t.Context(), 15)) // reorganisations leave the funds alone
	lost := func() (again [][]byte) {
		statuses, err := network.Status(t.Context(), hashes)
		if err != nil {
			return raw // nobody knows: the same bytes again
		}
		for i, status := range statuses {
			if status.State != chain.Mined {
				again = append(again, raw[i])
			}
		}
		return again
	}
	for round := range 36 {
		proxies[0].Do(nodes.Faults{Every: 5})
		proxies[1].Do([]nodes.Faults{{Swallow: true}, {Limited: time.Second}, {Ahead: 50}, {Down: true}}[round%4])
		proxies[2].Do([]nodes.Faults{{}, {Every: 3}, {Behind: 20}, {Forget: true}}[round%4])
		network.Send(t.Context(), lost()) // what it answers is looked at in the next round
		switch depth := uint64(1 + round%12); {
		case round == 20:
			must(t, node.Stop())
			must(t, node.Start(t.Context()))
			must(t, node.Mine(t.Context(), 15)) // it has no states of the blocks before
		case round%3 == 0:
			must(t, node.DropAll(t.Context()))
		default:
			if err := node.Reorg(t.Context(), depth); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	for _, p := range proxies {
		p.Do(nodes.Faults{Every: 10})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for left := lost(); len(left) > 0; left = lost() {
		network.Send(ctx, left)
		if !sleep(ctx, 100*time.Millisecond) {
			t.Fatalf("%d of %d transactions are not mined", len(left), len(raw))
		}
	}
	signed := make(map[common.Hash]bool)
	for _, hash := range hashes {
		signed[common.HexToHash(hash)] = true
		var receipt *struct{}
		must(t, node.Call(t.Context(), &receipt, "eth_getTransactionReceipt", hash)) // past all proxies
		if receipt == nil {
			t.Errorf("the chain does not have %s", hash)
		}
	}
	for _, p := range proxies {
		for hash := range p.Sent() {
			if !signed[hash] {
				t.Errorf("%s was sent and is none of the signed", hash)
			}
		}
	}
}

// signedFor are transactions with consecutive nonces of several funded accounts, the first of each first.
func signedFor(t *testing.T, network *evm.Network, node *nodes.Node, accounts, each int) (raw [][]byte, hashes []string) {
	t.Helper()
	senders := make([]account, accounts)
	calls := make([]chain.Call, accounts)
	for i := range senders {
		senders[i] = fundedOn(t, node, 1e18)
		calls[i] = chain.Call{From: senders[i].Address(), To: checksummed[0], Value: big.NewInt(1)}
	}
	txs, errs := network.Build(t.Context(), calls)
	must(t, errors.Join(errs...))
	for nonce := range uint64(each) {
		for i, tx := range txs {
			digest, err := network.Codec().Digest(tx, nonce)
			must(t, err)
			signed, err := network.Codec().Assemble(tx, nonce, signature(t, senders[i], digest))
			must(t, err)
			raw, hashes = append(raw, signed.Raw), append(hashes, signed.Hash)
		}
	}
	return raw, hashes
}

func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

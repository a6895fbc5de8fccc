package evm_test

import (
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

// BenchmarkTransfers is the chain's part of a confirmed transfer, node included: build, sign, send and status, by 16 keys in
// batches of 32.
func BenchmarkTransfers(b *testing.B) {
	c, err := devchain.Start(b.Context(), devchain.Config{Folder: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	network, err := evm.Dial(b.Context(), evm.Config{URLs: []string{c.URL()}, ChainID: c.ChainID()})
	if err != nil {
		b.Fatal(err)
	}
	defer network.Close()
	keys := make([]account, 16)
	for i := range keys {
		keys[i] = newAccount(b, c, 1e18)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var working sync.WaitGroup
	b.ResetTimer()
	for _, key := range keys {
		working.Go(func() {
			for nonce := uint64(0); left.Add(-32) > -32; nonce += 32 {
				transferBatch(b, network, key, nonce)
			}
		})
	}
	working.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transfers/s")
}

func transferBatch(b *testing.B, network *evm.Network, key account, nonce uint64) {
	calls := make([]chain.Call, 32)
	for i := range calls {
		calls[i] = chain.Call{From: key.Address(), To: "0x00000000000000000000000000000000000000aa", Value: big.NewInt(1)}
	}
	txs, errs := network.Build(b.Context(), calls)
	raw, hashes := make([][]byte, len(txs)), make([]string, len(txs))
	for i, tx := range txs {
		if errs[i] != nil {
			b.Error(errs[i])
			return
		}
		digest, err := network.Codec().Digest(tx, nonce+uint64(i))
		if err != nil {
			b.Error(err)
			return
		}
		signed, err := network.Codec().Assemble(tx, nonce+uint64(i), signature(b, key, digest))
		if err != nil {
			b.Error(err)
			return
		}
		raw[i], hashes[i] = signed.Raw, signed.Hash
	}
	for _, err := range network.Send(b.Context(), raw) {
		if err != nil {
			b.Error(err)
			return
		}
	}
	for mined := 0; mined < len(hashes); {
		time.Sleep(50 * time.Millisecond)
		statuses, err := network.Status(b.Context(), hashes)
		if err != nil {
			b.Error(err)
			return
		}
		mined = 0
		for _, status := range statuses {
			if status.State == chain.Mined {
				mined++
			}
		}
	}
}

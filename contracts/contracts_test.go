package contracts_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/contracts"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/problem"
)

const recipient = "0x00000000000000000000000000000000000000aa"

func TestTokensMoveThroughTheChainPort(t *testing.T) {
	c, err := devchain.Start(t.Context(), devchain.Config{BlockTime: 10 * time.Millisecond})
	must(t, err)
	defer c.Close()
	network, err := evm.Dial(t.Context(), evm.Config{URLs: []string{c.WebSocketURL()}, ChainID: c.ChainID()})
	must(t, err)
	defer network.Close()
	key, err := crypto.GenerateKey()
	must(t, err)
	holder := crypto.PubkeyToAddress(key.PublicKey).Hex()

	code, err := contracts.TestToken("Euro Token", "EURT", 6)
	must(t, err)
	token, hash, err := c.Deploy(t.Context(), code)
	must(t, err)
	mint, err := contracts.MintTestToken(holder, big.NewInt(100))
	must(t, err)
	minted, err := c.Call(t.Context(), token, mint)
	must(t, err)
	funded, err := c.Faucet(t.Context(), holder, big.NewInt(1e15))
	must(t, err)
	confirmed(t, network, hash, minted, funded)

	data, err := network.Codec().TransferToken(recipient, big.NewInt(25))
	must(t, err)
	tooMuch, err := network.Codec().TransferToken(recipient, big.NewInt(101))
	must(t, err)
	txs, errs := network.Build(t.Context(), []chain.Call{{From: holder, To: token, Data: data}, {From: holder, To: token, Data: tooMuch}})
	must(t, errs[0])
	var refused *problem.Error
	if !errors.As(errs[1], &refused) || refused.Code != "execution-reverted" || !strings.Contains(refused.Detail, "ERC20InsufficientBalance(sender: "+holder+", balance: 100, needed: 101)") {
		t.Errorf("moving more than there is answers %v, not ERC6093's InsufficientBalance", errs[1])
	}
	digest, err := network.Codec().Digest(txs[0], 0)
	must(t, err)
	signature, err := crypto.Sign(digest, key)
	must(t, err)
	signed, err := network.Codec().Assemble(txs[0], 0, signature)
	must(t, err)
	must(t, network.Send(t.Context(), [][]byte{signed.Raw})[0])
	confirmed(t, network, signed.Hash)

	for address, want := range map[string]int64{holder: 75, recipient: 25} {
		got, err := network.Token(t.Context(), token, address)
		must(t, err)
		if got.Int64() != want {
			t.Errorf("%s has %s tokens, not %d", address, got, want)
		}
	}
	if _, err := network.Token(t.Context(), recipient, holder); problem.From(err).Code != "token-unknown" {
		t.Errorf("a balance of a token that is not there answers %v", err)
	}
}

// confirmed waits for heads until all transactions are mined and successful.
func confirmed(t *testing.T, network *evm.Network, hashes ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range network.Heads(ctx) {
		statuses, err := network.Status(ctx, hashes)
		must(t, err)
		done := true
		for i, status := range statuses {
			if status.State == chain.Mined && !status.Success {
				t.Fatalf("%s failed", hashes[i])
			}
			done = done && status.State == chain.Mined
		}
		if done {
			return
		}
	}
	t.Fatalf("%v are not mined", hashes)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package devchain_test

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/problem"
)

const anybody = "0x00000000000000000000000000000000000000aa"

func TestTheFaucetPaysThroughJSONRPC(t *testing.T) {
	for _, transport := range []string{"http", "ws", "ipc"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := start(t, devchain.Config{IPC: filepath.Join(t.TempDir(), "ipc")})
			client := dial(t, map[string]string{"http": c.URL(), "ws": c.WebSocketURL(), "ipc": c.IPC()}[transport])
			var hash common.Hash
			must(t, client.Client().CallContext(t.Context(), &hash, "dev_faucet", anybody, (*hexutil.Big)(big.NewInt(42))))
			mined(t, client, hash.Hex())
			balance, err := client.BalanceAt(t.Context(), common.HexToAddress(anybody), nil)
			must(t, err)
			if balance.Int64() != 42 {
				t.Errorf("the balance is %s, not 42", balance)
			}
			if err := client.Client().CallContext(t.Context(), &hash, "dev_faucet", "0x12", "0x1"); err == nil {
				t.Error("the faucet pays to what is no address")
			}
		})
	}
}

func TestTheChainIDIsTheConfigured(t *testing.T) {
	c := start(t, devchain.Config{ChainID: 4242})
	id, err := dial(t, c.URL()).ChainID(t.Context())
	must(t, err)
	if id.Uint64() != 4242 || c.ChainID() != 4242 {
		t.Errorf("the node serves chain %s, Chain says %d", id, c.ChainID())
	}
}

func TestATrailOfEmptyBlocksFollowsATransaction(t *testing.T) {
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond, Trail: 4})
	client := dial(t, c.WebSocketURL())
	heads := make(chan *types.Header, 64)
	subscription, err := client.SubscribeNewHead(t.Context(), heads)
	must(t, err)
	defer subscription.Unsubscribe()
	hash, err := c.Faucet(t.Context(), anybody, big.NewInt(1))
	must(t, err)
	block := mined(t, client, hash).BlockNumber.Uint64()
	for idle := false; !idle; {
		select {
		case <-heads:
		case <-time.After(200 * time.Millisecond): // 40 blocks' time
			idle = true
		}
	}
	head, err := client.BlockNumber(t.Context())
	must(t, err)
	if head != block+4 {
		t.Errorf("%d blocks follow the transaction, not 4", head-block)
	}
}

func TestAChainWhoseClockRanAheadGoesOn(t *testing.T) {
	const blocks = 2000
	c := start(t, devchain.Config{Folder: t.TempDir(), BlockTime: time.Microsecond, Trail: blocks})
	client := dial(t, c.WebSocketURL())
	hash, err := c.Faucet(t.Context(), anybody, big.NewInt(1))
	must(t, err)
	first := mined(t, client, hash)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reached(ctx, t, client, blocks)
	head, err := client.HeaderByNumber(ctx, nil)
	must(t, err)
	if ahead := time.Until(time.Unix(int64(head.Time), 0)); ahead < 20*time.Minute {
		t.Fatalf("the chain's clock is only %s ahead: this test does not test what it should", ahead)
	}
	hash, err = c.Faucet(t.Context(), anybody, big.NewInt(1))
	must(t, err)
	if second := mined(t, client, hash); second.BlockNumber.Cmp(first.BlockNumber) <= 0 {
		t.Errorf("mined in block %s after block %s", second.BlockNumber, first.BlockNumber)
	}
}

func TestAFolderKeepsTheChain(t *testing.T) {
	config := devchain.Config{Folder: t.TempDir(), BlockTime: time.Millisecond}
	c := start(t, config)
	hash, err := c.Faucet(t.Context(), anybody, big.NewInt(42))
	must(t, err)
	before := mined(t, dial(t, c.URL()), hash)
	faucet := c.FaucetAddress()

	_, err = devchain.Start(t.Context(), config)
	wants(t, err, "folder-in-use")
	must(t, c.Close())
	must(t, c.Close()) // again does nothing

	other := config
	other.ChainID = 4242
	_, err = devchain.Start(t.Context(), other)
	wants(t, err, "chain-mismatch")

	again := start(t, config)
	after := mined(t, dial(t, again.URL()), hash)
	if after.BlockHash != before.BlockHash || again.FaucetAddress() != faucet {
		t.Errorf("after a restart the transaction is in block %s, not %s; the faucet is %s, was %s", after.BlockHash, before.BlockHash, again.FaucetAddress(), faucet)
	}
}

func TestADamagedFolderIsASentence(t *testing.T) {
	for _, pattern := range []string{"MANIFEST-*", "OPTIONS-*"} {
		folder := t.TempDir()
		c := start(t, devchain.Config{Folder: folder})
		hash, err := c.Faucet(t.Context(), anybody, big.NewInt(1))
		must(t, err)
		mined(t, dial(t, c.URL()), hash)
		must(t, c.Close())
		files, err := filepath.Glob(filepath.Join(folder, "devchain", "chaindata", pattern))
		must(t, err)
		for _, file := range files {
			must(t, os.WriteFile(file, bytes.Repeat([]byte("damaged "), 100), 0o600))
		}
		_, err = devchain.Start(t.Context(), devchain.Config{Folder: folder})
		wants(t, err, "folder-unusable")
		if err != nil && !strings.Contains(err.Error(), folder) {
			t.Errorf("the folder is not named: %v", err)
		}
	}
}

func TestAPortInUseIsASentence(t *testing.T) {
	c := start(t, devchain.Config{})
	port := c.URL()[strings.LastIndex(c.URL(), ":")+1:]
	_, err := devchain.Start(t.Context(), devchain.Config{Port: int(number(t, port)), Folder: t.TempDir()})
	wants(t, err, "port-in-use")
	if !strings.Contains(err.Error(), port) {
		t.Errorf("the port is not named: %v", err)
	}
}

func TestAForeignHostNameIsRefused(t *testing.T) {
	c := start(t, devchain.Config{})
	for host, want := range map[string]int{"evil.example": 403, "localhost": 200, "127.0.0.1:1": 200} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`))
		must(t, err)
		request.Host = host
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		must(t, response.Body.Close())
		if response.StatusCode != want {
			t.Errorf("the host %q gets %d, not %d", host, response.StatusCode, want)
		}
	}
}

func TestAdministrationIsNotServed(t *testing.T) {
	client := dial(t, start(t, devchain.Config{}).URL())
	for _, method := range []string{"admin_nodeInfo", "debug_setHead", "miner_setGasPrice"} {
		if err := client.Client().CallContext(t.Context(), nil, method, "0x1"); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s answers %v", method, err)
		}
	}
}

func start(t *testing.T, config devchain.Config) *devchain.Chain {
	t.Helper()
	c, err := devchain.Start(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func dial(t *testing.T, url string) *ethclient.Client {
	t.Helper()
	client, err := ethclient.DialContext(t.Context(), url)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func mined(t *testing.T, client *ethclient.Client, hash string) *types.Receipt {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		receipt, err := client.TransactionReceipt(t.Context(), common.HexToHash(hash))
		if err == nil {
			return receipt
		}
		select {
		case <-deadline:
			t.Fatalf("%s is not mined: %v", hash, err)
		case <-time.After(time.Millisecond):
		}
	}
}

// reached waits until the head has that number.
func reached(ctx context.Context, t *testing.T, client *ethclient.Client, want uint64) {
	t.Helper()
	heads := make(chan *types.Header, 64)
	subscription, err := client.SubscribeNewHead(ctx, heads)
	must(t, err)
	defer subscription.Unsubscribe()
	for {
		select {
		case head := <-heads:
			if head.Number.Uint64() >= want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the head did not reach %d", want)
		}
	}
}

func wants(t *testing.T, err error, code string) {
	t.Helper()
	var typed *problem.Error
	if !errors.As(err, &typed) || typed.Code != code {
		t.Errorf("got %v, not a %s", err, code)
	}
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n.Uint64()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

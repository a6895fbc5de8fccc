package evm_test

import (
	"crypto/ecdsa"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalhq/aval/internal/chain/chaintest"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

func TestConformance(t *testing.T) {
	for _, transport := range []string{"http", "ws", "ipc"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := start(t, devchain.Config{IPC: filepath.Join(t.TempDir(), "ipc"), BlockTime: 10 * time.Millisecond})
			url := map[string]string{"http": c.URL(), "ws": c.WebSocketURL(), "ipc": c.IPC()}[transport]
			chaintest.Run(t, func(t *testing.T) chaintest.Subject { return subject(t, c, url) })
		})
	}
}

func subject(t *testing.T, c *devchain.Chain, url string) chaintest.Subject {
	network := dial(t, evm.Config{URLs: []string{url}, ChainID: c.ChainID()})
	outside := oracle(t, c)
	return chaintest.Subject{
		Network: network, Market: network, Replayer: network, Follower: network, Codec: network.Codec(),
		Head: func(t *testing.T) uint64 {
			head, err := outside.BlockNumber(t.Context())
			must(t, err)
			return head
		},
		Account: func(t *testing.T, wei int64) chaintest.Account { return newAccount(t, c, wei) },
		Reverting: func(t *testing.T) (string, []byte) {
			return deploy(t, c, creation(revertingCode())), nil
		},
		Mismatched: func(t *testing.T) error {
			_, err := evm.Dial(t.Context(), evm.Config{URLs: []string{url}, ChainID: c.ChainID() + 1})
			return err
		},
		Unreachable: func(t *testing.T) error {
			_, err := evm.Dial(t.Context(), evm.Config{URLs: []string{"http://127.0.0.1:1"}, ChainID: c.ChainID()})
			return err
		},
	}
}

// revertingCode reverts with Error("no"): the 100 bytes of the ABI encoding lie behind 12 bytes of code.
func revertingCode() []byte {
	data := append(crypto.Keccak256([]byte("Error(string)"))[:4], common.LeftPadBytes([]byte{32}, 32)...)
	data = append(append(data, common.LeftPadBytes([]byte{2}, 32)...), common.RightPadBytes([]byte("no"), 32)...)
	return append(common.FromHex("0x6064600c60003960646000fd"), data...) // CODECOPY(0, 12, 100); REVERT(0, 100)
}

// creation is code that deploys the code that follows it.
func creation(code []byte) []byte {
	size := byte(len(code))
	return append([]byte{0x60, size, 0x60, 12, 0x60, 0, 0x39, 0x60, size, 0x60, 0, 0xf3}, code...) // CODECOPY(0, 12, size); RETURN(0, size)
}

type account struct{ key *ecdsa.PrivateKey }

func (a account) Address() string { return crypto.PubkeyToAddress(a.key.PublicKey).Hex() }

func (a account) Sign(digest []byte) ([]byte, error) { return crypto.Sign(digest, a.key) }

func signature(t failer, by account, digest []byte) []byte {
	t.Helper()
	signed, err := by.Sign(digest)
	must(t, err)
	return signed
}

func newKey(t failer) account {
	t.Helper()
	key, err := crypto.GenerateKey()
	must(t, err)
	return account{key}
}

func newAccount(t testing.TB, c *devchain.Chain, wei int64) account {
	t.Helper()
	a := newKey(t)
	if wei > 0 {
		hash, err := c.Faucet(t.Context(), a.Address(), big.NewInt(wei))
		must(t, err)
		mined(t, c, hash)
	}
	return a
}

func deploy(t *testing.T, c *devchain.Chain, code []byte) string {
	t.Helper()
	address, hash, err := c.Deploy(t.Context(), code)
	must(t, err)
	mined(t, c, hash)
	return address
}

func mined(t testing.TB, c *devchain.Chain, hash string) {
	t.Helper()
	outside := oracle(t, c)
	deadline := time.After(10 * time.Second)
	for {
		receipt, err := outside.TransactionReceipt(t.Context(), common.HexToHash(hash))
		if err == nil && receipt.Status == 1 {
			head, err := outside.BlockNumber(t.Context()) // a receipt shows a moment before the balances
			must(t, err)
			if head >= receipt.BlockNumber.Uint64() {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatalf("%s is not mined: %v", hash, err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func oracle(t testing.TB, c *devchain.Chain) *ethclient.Client {
	t.Helper()
	client, err := ethclient.DialContext(t.Context(), c.URL())
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func start(t *testing.T, config devchain.Config) *devchain.Chain {
	t.Helper()
	c, err := devchain.Start(t.Context(), config)
	must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func dial(t *testing.T, config evm.Config) *evm.Network {
	t.Helper()
	network, err := evm.Dial(t.Context(), config)
	must(t, err)
	t.Cleanup(network.Close)
	return network
}

// failer is what tests and properties share.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

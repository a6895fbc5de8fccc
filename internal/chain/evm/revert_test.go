package evm_test

import (
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

// raw is the ABI encoding of an error.
func raw(t *testing.T, signature string, values ...any) []byte {
	t.Helper()
	parsed, err := abi.ParseSelector(signature)
	must(t, err)
	arguments := abi.Arguments{}
	for _, input := range parsed.Inputs {
		typ, err := abi.NewType(input.Type, "", nil)
		must(t, err)
		arguments = append(arguments, abi.Argument{Type: typ})
	}
	packed, err := arguments.Pack(values...)
	must(t, err)
	return append(crypto.Keccak256([]byte(signature))[:4], packed...)
}

// TestRevertsAreExplained runs contracts that revert on a real EVM, before signing and after mining.
func TestRevertsAreExplained(t *testing.T) {
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond})
	declared, err := evm.DeclaredErrors([]byte(`{"contractName": "Vault", "abi": [{"type": "error", "name": "TooLate", "inputs": [{"name": "at", "type": "uint64"}, {"name": "why", "type": "string"}, {"name": "mark", "type": "bytes4"}]}]}`))
	must(t, err)
	network := dial(t, evm.Config{URLs: []string{c.URL()}, ChainID: c.ChainID(), Errors: declared})
	by := newAccount(t, c, 1e18)
	holder := common.HexToAddress(checksummed[4])
	nonce := uint64(0)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"Error(string)":      {raw(t, "Error(string)", "not today"), `the contract says "not today"`},
		"a long reason":      {raw(t, "Error(string)", strings.Repeat("so ", 50)+"\n"), "the contract says \"so so"},
		"an assertion":       {raw(t, "Panic(uint256)", big.NewInt(1)), "the contract panicked: assert(false) (Panic 0x1)"},
		"an overflow":        {raw(t, "Panic(uint256)", big.NewInt(0x11)), "the contract panicked: arithmetic underflow or overflow (Panic 0x11)"},
		"an unknown panic":   {raw(t, "Panic(uint256)", big.NewInt(0x77)), "(Panic 0x77)"},
		"ERC-6093":           {raw(t, "ERC20InsufficientBalance(address,uint256,uint256)", holder, big.NewInt(1), big.NewInt(2)), "ERC20InsufficientBalance(sender: " + checksummed[4] + ", balance: 1, needed: 2)"},
		"declared here":      {raw(t, "TooLate(uint64,string,bytes4)", uint64(7), "closed", [4]byte{1, 2, 3, 4}), `TooLate(at: 7, why: "closed", mark: 0x01020304)`},
		"declared by nobody": {raw(t, "Nope(uint256)", big.NewInt(5)), "the contract's error 0x63a2a81f, which no ABI here declares, with the data 0x" + strings.Repeat("0", 63) + "5"},
		"no reason":          {nil, "reverted"},
		"a broken encoding":  {raw(t, "Error(string)", "x")[:40], "0x08c379a0"},
	} {
		contract := deploy(t, c, creation(revertingWith(test.data)))
		_, errs := network.Build(t.Context(), []chain.Call{{From: by.Address(), To: contract}})
		if !is(errs[0], "execution-reverted") || !strings.Contains(errs[0].Error(), test.want) || len(errs[0].Error()) > 600 {
			t.Errorf("%s, estimated: %v", name, errs[0])
		}
		tx := chain.Unsigned{Chain: network.ID(), From: by.Address(), To: contract, Value: new(big.Int), Gas: 100_000, Fee: big.NewInt(1e11), Tip: big.NewInt(1e9)}
		reason, err := network.Replay(t.Context(), tx, undone(t, network, by, tx, nonce))
		nonce++
		if err != nil || !strings.Contains(reason, test.want) {
			t.Errorf("%s, mined: %q (%v)", name, reason, err)
		}
	}
}

// undone sends a transaction that reverts and waits until it is mined.
func undone(t *testing.T, network *evm.Network, by account, tx chain.Unsigned, nonce uint64) chain.Status {
	t.Helper()
	digest, err := network.Codec().Digest(tx, nonce)
	must(t, err)
	signed, err := network.Codec().Assemble(tx, nonce, signature(t, by, digest))
	must(t, err)
	must(t, network.Send(t.Context(), [][]byte{signed.Raw})[0])
	deadline := time.After(10 * time.Second)
	for {
		statuses, err := network.Status(t.Context(), []string{signed.Hash})
		must(t, err)
		if statuses[0].State == chain.Mined {
			if statuses[0].Success {
				t.Fatal("it did not revert")
			}
			return statuses[0]
		}
		select {
		case <-deadline:
			t.Fatal("it is not mined")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// revertingWith is code that reverts with the data.
func revertingWith(data []byte) []byte {
	size := byte(len(data))
	return append([]byte{0x60, size, 0x60, 12, 0x60, 0, 0x39, 0x60, size, 0x60, 0, 0xfd}, data...) // CODECOPY(0, 12, size); REVERT(0, size)
}

// TestAReplayThatCannotBeMadeSaysSo: what passes, what ran out of gas, and a node that has forgotten the state.
func TestAReplayThatCannotBeMadeSaysSo(t *testing.T) {
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond})
	network := dial(t, evm.Config{URLs: []string{c.URL()}, ChainID: c.ChainID()})
	tx := chain.Unsigned{Chain: network.ID(), From: newAccount(t, c, 1e18).Address(), To: checksummed[1], Gas: 50_000}
	head, err := network.Head(t.Context())
	must(t, err)
	reason, err := network.Replay(t.Context(), tx, chain.Status{Block: head, GasUsed: 21_000})
	if err != nil || !strings.Contains(reason, "it passes") {
		t.Errorf("what passes: %q (%v)", reason, err)
	}
	reason, err = network.Replay(t.Context(), tx, chain.Status{Block: head, GasUsed: 50_000})
	if err != nil || !strings.Contains(reason, "used up its 50000") {
		t.Errorf("out of gas: %q (%v)", reason, err)
	}
	if reason, err = network.Replay(t.Context(), tx, chain.Status{Block: head + 1000}); !is(err, "chain-unreachable") {
		t.Errorf("a block that the node does not have: %q (%v)", reason, err)
	}
}

func TestABIsAreReadStrictly(t *testing.T) {
	artifact, err := os.ReadFile(filepath.Join("..", "..", "..", "contracts", "artifacts", "TestToken.json"))
	must(t, err)
	_, err = evm.DeclaredErrors(artifact)
	must(t, err)
	for _, bad := range []string{"", "{}", "null", `{"abi": 1}`, `[{"type": "error", "name": "X", "inputs": [{"name": "a", "type": "strange"}]}]`, "[1]"} {
		if _, err := evm.DeclaredErrors([]byte(bad)); !is(err, "abi-malformed") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

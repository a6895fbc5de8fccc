package evm_test

import (
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

// TestACallThatWouldDoNothingIsRefused: a block would count it as done. What answers nothing, as tokens of old do, is taken.
func TestACallThatWouldDoNothingIsRefused(t *testing.T) {
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond})
	network := dial(t, evm.Config{URLs: []string{c.URL()}, Poll: 5 * time.Millisecond})
	from := newAccount(t, c, 1e18).Address()
	data, err := network.Codec().TransferToken(checksummed[0], big.NewInt(5))
	must(t, err)
	for name, c := range map[string]struct{ to, want string }{
		"nobody is there":    {newKey(t).Address(), "address-invalid"},
		"it answers false":   {deploy(t, c, creation(common.FromHex("0x60206000f3"))), "execution-reverted"}, // RETURN(0, 32)
		"it answers true":    {deploy(t, c, creation(common.FromHex("0x600160005260206000f3"))), ""},         // MSTORE(0, 1); RETURN(0, 32)
		"it answers nothing": {deploy(t, c, creation(common.FromHex("0x00"))), ""},                           // STOP
	} {
		for range 2 { // that it has code is known at the second
			if _, errs := network.Build(t.Context(), []chain.Call{{From: from, To: c.to, Data: data}}); !is(errs[0], c.want) && (c.want != "" || errs[0] != nil) {
				t.Errorf("%s: %v; want %q", name, errs[0], c.want)
			}
		}
	}
}

// TestACallNeedsAContractUnlessItPays: data beside value may be a note; what declares a function is none. The chain's own contracts
// have no code.
func TestACallNeedsAContractUnlessItPays(t *testing.T) {
	c := start(t, devchain.Config{BlockTime: 5 * time.Millisecond})
	network := dial(t, evm.Config{URLs: []string{c.URL()}, Poll: 5 * time.Millisecond})
	from, nobody := newAccount(t, c, 1e18).Address(), newKey(t).Address()
	precompiled := func(n int64) string { return common.BigToAddress(big.NewInt(n)).Hex() }
	for name, c := range map[string]struct {
		call chain.Call
		want string
	}{
		"data alone":                  {chain.Call{To: nobody, Data: []byte("note")}, "address-invalid"},
		"data and value":              {chain.Call{To: nobody, Data: []byte("note"), Value: big.NewInt(1)}, ""},
		"a function, and value":       {chain.Call{To: nobody, Data: []byte("note"), Value: big.NewInt(1), Declared: true}, "address-invalid"},
		"the hash of the chain's own": {chain.Call{To: precompiled(2), Data: []byte("note")}, ""},
		"the last of the chain's own": {chain.Call{To: precompiled(0x100), Data: []byte("note")}, ""},
		"none of the chain's own":     {chain.Call{To: precompiled(0x101), Data: []byte("note")}, "address-invalid"},
	} {
		c.call.From = from
		if _, errs := network.Build(t.Context(), []chain.Call{c.call}); !is(errs[0], c.want) && (c.want != "" || errs[0] != nil) {
			t.Errorf("%s: %v; want %q", name, errs[0], c.want)
		}
	}
}

// TestWithoutAnAnswerAboutTheCodeNothingIsBuilt: until the node has told once.
func TestWithoutAnAnswerAboutTheCodeNothingIsBuilt(t *testing.T) {
	n := &node{base: big.NewInt(100)}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
	call := []chain.Call{{From: checksummed[0], To: checksummed[1], Data: []byte("call")}}
	for _, said := range []string{"request timed out", "eth_getCode is not included in your current plan", "words that nobody knows"} {
		n.codeless = errors.New(said)
		if _, errs := network.Build(t.Context(), call); !is(errs[0], "chain-unreachable") {
			t.Errorf("%q about the code: %v", said, errs[0])
		}
	}
	for _, n.codeless = range []error{nil, errors.New("request timed out")} {
		if _, errs := network.Build(t.Context(), call); errs[0] != nil {
			t.Errorf("with %v about the code, which is there: %v", n.codeless, errs[0])
		}
	}
}

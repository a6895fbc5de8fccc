package evm_test

import (
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

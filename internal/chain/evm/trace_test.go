package evm_test

import (
	"errors"
	"testing"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// TestI5AVerdictIsHeldAgainstEachNode: what somebody says to be in a block is believed where nodes have thrown away all but headers, and
// not where one of them shows the block without it.
func TestI5AVerdictIsHeldAgainstEachNode(t *testing.T) {
	s := open(t, 2, evm.Config{Quorum: 1})
	raw, hashes := s.signed(t, 2)
	blocks := make([]uint64, len(raw))
	for i := range raw {
		must(t, errors.Join(s.network.Send(t.Context(), raw[i:i+1])...))
		s.mined(t, hashes[i:i+1])
		statuses, err := s.network.Status(t.Context(), hashes[i:i+1])
		must(t, err)
		blocks[i] = statuses[0].Block
	}
	forgets := nodes.Faults{Pruned: true, Stateless: true}
	headers := nodes.Faults{Pruned: true, Stateless: true, Bodiless: true}
	for name, c := range map[string]struct {
		faults []nodes.Faults
		block  uint64
		known  bool
	}{
		"all have headers alone, and there is such a block": {[]nodes.Faults{headers, headers}, blocks[0], true},
		"all have headers alone, and there is none":         {[]nodes.Faults{headers, headers}, 1 << 40, false},
		"one has the block that holds it":                   {[]nodes.Faults{headers, forgets}, blocks[0], true},
		"one has the block, which holds another one":        {[]nodes.Faults{headers, forgets}, blocks[1], false},
		"the other one has":                                 {[]nodes.Faults{forgets, headers}, blocks[1], false},
	} {
		for i, f := range c.faults {
			s.proxies[i].Do(f)
		}
		got, err := s.network.Trace(t.Context(), chain.Use{Address: checksummed[0], Hashes: hashes[:1], Seen: chain.Sighting{Hash: hashes[0], Block: c.block}})
		if err != nil || got.Known != c.known || c.known && (got.Hash != hashes[0] || got.Status.Block != c.block) {
			t.Errorf("%s: %+v, %v; known should be %t", name, got, err, c.known)
		}
	}
}

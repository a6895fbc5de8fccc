//go:build nodes

package chainfaults

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
)

// settledAll waits until nothing of these transfers is looked at any more.
func (s *site) settledAll(some []*shipment) {
	s.t.Helper()
	eventually(s.t, "the transfers to be settled", func() bool {
		s.mine(1)
		return !slices.ContainsFunc(some, func(m *shipment) bool { return !s.of(m).Settled })
	}, s.pending)
}

// TestI14TheProgramOverNodesThatThrowAway: the program's node, or all of them, throw away what they knew of transactions: the index,
// then receipts, then old state (EIP-4444). What was seen in its block stays so while the block is canonical; what a block still
// tells is read from it, or from another node. Nothing counts as lost, or is signed again (I5).
func TestI14TheProgramOverNodesThatThrowAway(t *testing.T) {
	for name, c := range map[string]struct {
		nodes        int
		faults, late nodes.Faults // of the first node, before a block holds the transfers and from then on
	}{
		"receipts of what was seen":      {nodes: 1, late: nodes.Faults{Pruned: true, Stateless: true}},
		"the index":                      {nodes: 1, faults: nodes.Faults{Unindexed: true}, late: nodes.Faults{Unindexed: true}},
		"everything, and another has it": {nodes: 2, faults: nodes.Faults{Pruned: true, Stateless: true}, late: nodes.Faults{Pruned: true, Stateless: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ways := make([]*nodes.Proxy, c.nodes)
			s := serving(t, still(t), place{chain: shallow(), via: several(t, ways)})
			some := s.pay(3)
			ways[0].Do(c.faults)
			s.mine(1)
			s.seen(some)
			ways[0].Do(c.late)
			s.confirmed(some, s.growing())
			s.settledAll(some)
			s.ended(patience)
			if others := s.check(); others != 0 {
				t.Errorf("%d transactions were signed besides (I13)", others)
			}
			for _, m := range some {
				if events := s.of(m).Events; len(events) != 0 {
					t.Errorf("of the transfer %s is told %+v", m.id, events)
				}
			}
		})
	}
}

// forgotten is a site whose only node throws away everything about two transfers by the time that the program looks: their messages
// are held.
func forgotten(t *testing.T) (s *site, way *nodes.Proxy, some []*shipment) {
	ways := make([]*nodes.Proxy, 1)
	s = serving(t, still(t), place{chain: shallow(), via: several(t, ways)})
	some = s.pay(2)
	ways[0].Do(nodes.Faults{Pruned: true, Stateless: true})
	s.mine(1)
	s.held(some)
	return s, ways[0], some
}

// TestI5WhatNobodyKeepsIsHeld: the only node has thrown everything away by the time that the program looks. Whether the transfers were
// made nobody can say: they are held with an alarm, never called lost and never made again. When the node finds what it had, they
// are what they are.
func TestI5WhatNobodyKeepsIsHeld(t *testing.T) {
	t.Parallel()
	s, way, some := forgotten(t)
	k := s.halted()
	s.answers(t, "no node keeps what on", "tx", "why", some[0].id)
	if words := told(s.of(some[0]), transaction.EventUnknown, transaction.EventLost, transaction.EventResent, transaction.EventNoOp); fmt.Sprint(words) != "[unknown]" {
		t.Errorf("its events are %v", words)
	}

	way.Do(nodes.Faults{})
	s.confirmed(some, s.growing())
	_, err := s.operator.Acknowledge(t.Context(), k.ID, 2, "found in an explorer")
	check(t, err)
	s.resume(some...)
	s.confirmed(s.pay(1), s.growing()) // the key is used again
	s.ended(patience)
	if others := s.check(); others != 0 {
		t.Errorf("%d transactions were signed besides (I13)", others)
	}
}

// TestI5WhatNobodyKeepsIsEndedByAnOperator: what the node has thrown away never comes back. An operator has looked it up elsewhere, and
// says of each nonce what it was spent on, before the key is let go on or after; what the chain can still tell is held against
// that. Then the messages end as the operator has said, once, and nothing was signed besides (I6, I13).
func TestI5WhatNobodyKeepsIsEndedByAnOperator(t *testing.T) {
	t.Parallel()
	s, way, some := forgotten(t)
	first, second := s.of(some[0]), s.of(some[1])
	holds := uint64(s.head())
	block, after := strconv.FormatUint(holds, 10), strconv.FormatUint(holds+1, 10)
	s.mine(2)
	const reason = "--reason=an explorer shows it"
	for what, args := range map[string][]string{
		"no node shows that block " + after: {"--hash", first.Attempts[0].Hash, "--block", after, reason},
		"no node shows that block 99999":    {"--hash", first.Attempts[0].Hash, "--block", "99999", reason},
		"none of the transactions":          {"--hash", second.Attempts[0].Hash, "--block", block, reason},
		"--hash":                            {"--hash", first.Attempts[0].Hash, "--foreign", reason},
		"--reason":                          {"--foreign"},
		"--block":                           {"--hash", first.Attempts[0].Hash, reason},
	} {
		s.refused(t, what, append([]string{"tx", "resolve", some[0].id}, args...)...)
	}
	s.answers(t, "did what it was signed for", "tx", "resolve", first.ID, "--hash", first.Attempts[0].Hash, "--block", block, reason)
	s.refused(t, "transaction-known", "tx", "resolve", first.ID, "--foreign", reason)
	_, err := s.operator.Acknowledge(t.Context(), s.halted().ID, 2, "found in an explorer")
	check(t, err)
	s.resume(some[1])
	s.settledAll(some)
	s.held(some[1:]) // to acknowledge the key says nothing of the transaction
	s.answers(t, "aval message resume "+some[1].id, "tx", "resolve", second.ID, "--hash", "0x"+strings.ToUpper(second.Attempts[0].Hash[2:]), "--block", block, reason)
	way.Do(nodes.Faults{})
	s.resume(some...)
	s.confirmed(s.pay(1), s.growing())
	s.ended(patience)
	if others := s.check(); others != 0 {
		t.Errorf("%d transactions were signed besides (I13)", others)
	}
}

// resume lets messages go on.
func (s *site) resume(some ...*shipment) {
	s.t.Helper()
	for _, m := range some {
		_, err := s.operator.Resume(s.t.Context(), m.id)
		check(s.t, err)
	}
}

// held waits until nobody can tell what became of the transfers, and their messages are parked for it.
func (s *site) held(some []*shipment) {
	s.t.Helper()
	eventually(s.t, "the transfers to be held", func() bool {
		return !slices.ContainsFunc(some, func(m *shipment) bool {
			rec, err := s.party.Get(s.t.Context(), m.id)
			return err != nil || rec.Status != client.Parked || s.of(m).Status != string(transaction.Unknown)
		})
	}, s.pending)
}

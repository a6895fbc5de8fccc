//go:build nodes

package chainfaults

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// The whole program, aval serve, over a chain that does what chains do. What a keeper alone makes of it is tried in the files
// named by what happens.

// serving is a site with one wallet, whose program serves until the test ends.
func serving(t *testing.T, node *nodes.Node, at place) *site {
	t.Helper()
	at.wallets = 1
	s := newSite(t, node, at)
	s.start("")
	t.Cleanup(func() { check(t, s.process.Stop()) })
	return s
}

// shallow is what counts as confirmed and as final at a site that is reorganised.
func shallow() map[string]any {
	return map[string]any{"confirmations": confirmations, "final_depth": finalDepth, "poll": "50ms"}
}

// pay submits n transfers, and waits until the node has them all.
func (s *site) pay(n int) []*shipment {
	s.t.Helper()
	s.order(n)
	if accepted := s.submit(s.t.Context(), 8); accepted != len(s.all) {
		s.t.Fatalf("%d of %d transfers were accepted", accepted, len(s.all))
	}
	s.pooled()
	return s.all[len(s.all)-n:]
}

// pooled waits until the node has all that was submitted.
func (s *site) pooled() {
	s.t.Helper()
	var count hexutil.Uint64
	eventually(s.t, "the node to have the transactions", func() bool {
		check(s.t, s.node.Call(s.t.Context(), &count, "eth_getTransactionCount", s.wallets[0].Address, "pending"))
		return int(count) >= len(s.all)
	}, func() string { return fmt.Sprintf("it has %d of %d; %s", count, len(s.all), s.pending()) })
}

func (s *site) mine(blocks uint64) {
	s.t.Helper()
	check(s.t, s.node.Mine(s.t.Context(), blocks))
}

func (s *site) head() (head hexutil.Uint64) {
	s.t.Helper()
	check(s.t, s.node.Call(s.t.Context(), &head, "eth_blockNumber"))
	return head
}

// of gives what the program tells of the transaction of a transfer, with its events.
func (s *site) of(m *shipment) client.Transaction {
	s.t.Helper()
	all, err := s.operator.Transactions(s.t.Context(), client.TransactionQuery{Message: m.id})
	check(s.t, err)
	if len(all) == 0 {
		return client.Transaction{} // nothing is decided for it yet
	}
	if len(all) > 1 {
		s.t.Fatalf("the transfer %s has %d transactions", m.id, len(all))
	}
	tx, err := s.operator.Transaction(s.t.Context(), all[0].ID)
	check(s.t, err)
	return tx
}

// told are the words of a transaction's events that are among those.
func told(tx client.Transaction, among ...string) (words []string) {
	for _, e := range tx.Events {
		if slices.Contains(among, e.What) {
			words = append(words, e.What)
		}
	}
	return words
}

// confirmed waits until the program tells of all these transfers as confirmed, and lets the chain grow meanwhile.
func (s *site) confirmed(some []*shipment, grow func()) {
	s.t.Helper()
	at := 0
	next := time.Now()
	eventually(s.t, "the transfers to be confirmed", func() bool {
		for at < len(some) && s.of(some[at]).Status == string(transaction.Confirmed) {
			at++
		}
		if at < len(some) && grow != nil && time.Now().After(next) {
			grow()
			next = time.Now().Add(100 * time.Millisecond)
		}
		return at == len(some)
	}, func() string { return fmt.Sprintf("%d of %d are; %s", at, len(some), s.pending()) })
}

func (s *site) growing() func() { return func() { s.mine(1) } }

// TestI14TheProgramIsReorganised gives up the newest 1 to 12 blocks, again and again, with transfers in them that had ended. Each is
// told as taken back, as often as it was; in the end the chain has each once, as it is told, and no message has changed its mind (I4).
func TestI14TheProgramIsReorganised(t *testing.T) {
	t.Parallel()
	s := serving(t, still(t), place{chain: shallow()})
	chance := stage.NewChance(t, *seed)
	want, taken := map[*shipment][]string{}, 0
	for round := range max(3, *reorgs/4) {
		depth := uint64(round*5%12 + 1)
		for range 1 + chance.Below(2) {
			s.confirmed(s.pay(1+chance.Below(3)), s.growing())
		}
		s.pay(1 + chance.Below(2))
		s.mine(1) // mined, and not confirmed
		recent := s.all[max(0, len(s.all)-60):]
		s.seen(recent)
		taken += s.reorganise(depth, recent, want)
		s.confirmed(recent, s.growing())
	}
	s.ended(patience)
	if others := s.check(); others != 0 {
		t.Errorf("%d transactions were signed besides (I13)", others)
	}
	for _, m := range s.all {
		if words := told(s.of(m), transaction.EventReversed, transaction.EventUnmined, transaction.EventMoved); !slices.Equal(words, want[m]) {
			t.Errorf("the transfer %s was taken back as %v, and %v was told (I14)", m.id, want[m], words)
		}
	}
	t.Logf("%d transfers, taken out of their blocks %d times; each is there once", len(s.all), taken)
}

// seen waits until the program tells of all these as mined.
func (s *site) seen(some []*shipment) {
	s.t.Helper()
	eventually(s.t, "the transfers to be told as mined", func() bool {
		return !slices.ContainsFunc(some, func(m *shipment) bool { return s.of(m).Block == 0 })
	}, s.pending)
}

// reorganise gives blocks up, notes what is taken back with them, and waits until it is told.
func (s *site) reorganise(depth uint64, recent []*shipment, want map[*shipment][]string) (taken int) {
	s.t.Helper()
	head := uint64(s.head())
	for _, m := range recent {
		tx := s.of(m)
		if tx.Block+depth <= head {
			continue
		}
		taken++
		as := transaction.EventUnmined
		if tx.Status == string(transaction.Confirmed) {
			as = transaction.EventReversed
		}
		want[m] = append(want[m], as)
	}
	check(s.t, s.node.Reorg(s.t.Context(), depth))
	eventually(s.t, "the reorganisation to be told", func() bool {
		return !slices.ContainsFunc(recent, func(m *shipment) bool {
			return len(told(s.of(m), transaction.EventReversed, transaction.EventUnmined, transaction.EventMoved)) < len(want[m])
		})
	}, s.pending)
	return taken
}

// TestI13TheProgramAndAnEmptiedPool empties the node's pool, again and again: the same bytes are sent again, and no others.
func TestI13TheProgramAndAnEmptiedPool(t *testing.T) {
	t.Parallel()
	s := serving(t, still(t), place{chain: shallow()})
	for range max(2, *drops/2) {
		some := s.pay(5)
		check(t, s.node.DropAll(t.Context()))
		s.mine(1) // an empty block: the keeper looks
		s.pooled()
		s.confirmed(some, s.growing())
		for _, m := range some {
			if words := told(s.of(m), transaction.EventResent); len(words) == 0 {
				t.Errorf("the transfer %s was dropped, and its events are %v", m.id, s.of(m).Events)
			}
		}
	}
	s.ended(patience)
	if others := s.check(); others != 0 {
		t.Errorf("%d transactions were signed besides (I13)", others)
	}
}

// TestI6TheProgramWhenTheBaseFeeLeaps: it is ten times as high from one block to the next, and stays there. All that waits is raised, with
// the same intent, and mined.
func TestI6TheProgramWhenTheBaseFeeLeaps(t *testing.T) {
	t.Parallel()
	node := still(t)
	s := serving(t, node, place{chain: shallow()})
	base := func(gwei int64) func() {
		return func() {
			check(t, node.NextBaseFee(t.Context(), big.NewInt(gwei*1e9)))
			s.mine(1)
		}
	}
	base(1)()
	time.Sleep(2 * time.Second) // so long a quote is kept
	some := s.pay(10)
	s.confirmed(some, base(10))
	for _, m := range some {
		if words := told(s.of(m), transaction.EventRaised); len(words) == 0 {
			t.Errorf("the transfer %s was mined without being raised", m.id)
		}
	}
	s.ended(patience)
	if others := s.check(); others < len(some) {
		t.Errorf("%d transactions were sent besides, of %d that were raised", others, len(some))
	}
}

// TestI12TheProgramsLaneGoesOn: in the middle of a lane is one with too little gas, as the node has estimated wrongly, and later one
// that offers less than the next block asks. Those behind are mined within three blocks.
func TestI12TheProgramsLaneGoesOn(t *testing.T) {
	t.Parallel()
	node := still(t)
	ways := make([]*nodes.Proxy, 1)
	s := serving(t, node, place{chain: shallow(), via: several(t, ways)})
	s.pay(4)
	ways[0].Do(nodes.Faults{Gas: 17_000}) // with the margin that is added less than any transaction needs
	s.order(1)
	s.all[4].givenUp = true
	s.submit(t.Context(), 1)
	eventually(t, "the one to be decided", func() bool {
		all, err := s.operator.Transactions(t.Context(), client.TransactionQuery{Message: s.all[4].id})
		return err == nil && len(all) == 1
	}, s.pending)
	ways[0].Do(nodes.Faults{})
	s.goesOn(s.all[4], s.head())

	check(t, node.NextBaseFee(t.Context(), big.NewInt(1e7)))
	s.mine(1)
	time.Sleep(2 * time.Second) // so long a quote is kept
	cheap, began := s.pay(1)[0], s.head()
	check(t, node.NextBaseFee(t.Context(), big.NewInt(1e10)))
	s.mine(1)                   // which passes it over
	time.Sleep(2 * time.Second) // those behind are priced as they should be
	s.goesOn(cheap, began)
	s.ended(patience)
	s.check()
}

// between is the time from block to block: enough for a busy machine to look at each.
const between = 2 * time.Second

// goesOn submits four transfers behind one that cannot be mined, lets the chain make blocks, and counts those until all are.
func (s *site) goesOn(spoilt *shipment, began hexutil.Uint64) {
	s.t.Helper()
	s.order(4)
	s.submit(s.t.Context(), 4)
	eventually(s.t, "those behind to be signed", func() bool {
		return !slices.ContainsFunc(s.all[len(s.all)-4:], func(m *shipment) bool {
			tx := s.of(m)
			return len(tx.Attempts) == 0 || tx.Attempts[0].Hash == ""
		})
	}, s.pending)
	var next time.Time
	for ; ; time.Sleep(time.Until(next)) {
		next = time.Now().Add(between)
		s.mine(1)
		var count hexutil.Uint64
		check(s.t, s.node.Call(s.t.Context(), &count, "eth_getTransactionCount", s.wallets[0].Address, "latest"))
		if int(count) == len(s.all) {
			break
		}
		if s.head() > began+20 {
			s.t.Fatalf("after 20 blocks %d of %d are mined; %s", count, len(s.all), s.pending())
		}
	}
	blocks := s.head() - began
	s.t.Logf("with %s in the middle, given up %v, all behind it were mined after %d blocks", spoilt.id, spoilt.givenUp, blocks)
	if blocks > 3 {
		s.t.Errorf("the lane went on after %d blocks (I12)", blocks)
	}
	s.confirmed(s.all[len(s.all)-5:], s.growing())
}

package evm_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/problem"
)

// several are endpoints of one chain, each behind a proxy that does wrong what a test says.
type several struct {
	chain   *devchain.Chain
	proxies []*nodes.Proxy
	network *evm.Network
}

func open(t *testing.T, count int, config evm.Config) *several {
	t.Helper()
	t.Parallel()
	s := &several{chain: start(t, devchain.Config{BlockTime: 5 * time.Millisecond})}
	for range count {
		p := nodes.NewProxy(s.chain.URL())
		t.Cleanup(p.Close)
		s.proxies, config.URLs = append(s.proxies, p), append(config.URLs, p.URL)
	}
	if config.Timeout == 0 {
		config.Timeout = time.Second
	}
	if config.Poll == 0 {
		config.Poll = 5 * time.Millisecond
	}
	s.network = dial(t, config)
	return s
}

// settled waits until the nodes' health is as wanted.
func (s *several) settled(t *testing.T, wanted func([]evm.Health) bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !wanted(s.network.Health()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the nodes' health stays %+v", s.network.Health())
		}
	}
}

// signed are transactions with consecutive nonces of one funded account.
func (s *several) signed(t *testing.T, count int) (raw [][]byte, hashes []string) {
	t.Helper()
	from := newAccount(t, s.chain, 1e17)
	txs, errs := s.network.Build(t.Context(), []chain.Call{{From: from.Address(), To: checksummed[0], Value: big.NewInt(1)}})
	must(t, errors.Join(errs...))
	for i := range count {
		digest, err := s.network.Codec().Digest(txs[0], uint64(i))
		must(t, err)
		tx, err := s.network.Codec().Assemble(txs[0], uint64(i), signature(t, from, digest))
		must(t, err)
		raw, hashes = append(raw, tx.Raw), append(hashes, tx.Hash)
	}
	return raw, hashes
}

// mined waits until all are mined and successful.
func (s *several) mined(t *testing.T, hashes []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		statuses, err := s.network.Status(ctx, hashes)
		done := err == nil
		for _, status := range statuses {
			done = done && status.State == chain.Mined && status.Success
		}
		if done {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("not all are mined: %+v, %v", statuses, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestReadsGoToANodeThatIsWell(t *testing.T) {
	s := open(t, 2, evm.Config{})
	s.proxies[0].Do(nodes.Faults{Down: true})
	for range 20 {
		_, err := s.network.Head(t.Context())
		must(t, err)
	}
	s.settled(t, func(h []evm.Health) bool { return !h[0].Up && h[0].Failure != nil && h[1].Up })
	s.proxies[1].Do(nodes.Faults{Down: true})
	if _, err := s.network.Head(t.Context()); !is(err, "chain-unreachable") || !strings.Contains(err.Error(), s.proxies[1].URL) {
		t.Errorf("while both are away: %v", err)
	}
	s.proxies[0].Do(nodes.Faults{})
	s.settled(t, func(h []evm.Health) bool { return h[0].Up })
	_, err := s.network.Head(t.Context())
	must(t, err)
}

func TestANodeThatIsBehindOrLiesIsNotAsked(t *testing.T) {
	for name, faults := range map[string]nodes.Faults{"behind": {Behind: 1000}, "ahead": {Ahead: 1000}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 3, evm.Config{})
			for range 5 { // a head to be behind of
				_, err := s.chain.Faucet(t.Context(), checksummed[0], big.NewInt(1))
				must(t, err)
			}
			s.settled(t, func(h []evm.Health) bool { return h[0].Head > 10 })
			s.proxies[0].Do(faults)
			s.settled(t, func(h []evm.Health) bool { return !h[0].Up && h[0].Lag > 3 && h[1].Up && h[2].Up })
			if wrong := s.network.Health()[0].Wrong(); !strings.Contains(wrong, "blocks away from the others") {
				t.Errorf("what is wrong with it is told as %q", wrong)
			}
			head, err := s.network.Head(t.Context())
			must(t, err)
			if honest := s.network.Health()[1].Head; head+3 < honest || head > honest+100 {
				t.Errorf("the head is told as %d, and is about %d", head, honest)
			}
			s.proxies[0].Do(nodes.Faults{})
			s.settled(t, func(h []evm.Health) bool { return h[0].Up })
		})
	}
}

func TestWhatIsMinedIsWhatAQuorumSays(t *testing.T) { // I14
	s := open(t, 2, evm.Config{Quorum: 2, MaxLag: 1e6})
	raw, hashes := s.signed(t, 1)
	must(t, errors.Join(s.network.Send(t.Context(), raw)...))
	s.mined(t, hashes)
	s.proxies[0].Do(nodes.Faults{Ahead: 500})
	s.settled(t, func(h []evm.Health) bool { return h[0].Head > 400 })
	statuses, err := s.network.Status(t.Context(), hashes)
	must(t, err)
	if statuses[0].State != chain.Mined || statuses[0].Depth > 100 {
		t.Errorf("one of two nodes lies about the head, and the status is %+v", statuses[0])
	}
	s.proxies[0].Do(nodes.Faults{Behind: 1e6}) // it has not even the block
	statuses, err = s.network.Status(t.Context(), hashes)
	must(t, err)
	if statuses[0].State != chain.Pending {
		t.Errorf("one of two nodes has it in no block, and the status is %+v", statuses[0])
	}
	s.proxies[0].Do(nodes.Faults{Down: true})
	if _, err := s.network.Status(t.Context(), hashes); !is(err, "chain-unreachable") {
		t.Errorf("one of two nodes is away, and the status is known: %v", err)
	}
	if _, err := s.network.Account(t.Context(), checksummed[0]); !is(err, "chain-unreachable") {
		t.Errorf("one of two nodes is away, and the nonce is known: %v", err)
	}
}

func TestAcceptedAndTimedOutIsSent(t *testing.T) { // I5
	s := open(t, 1, evm.Config{Timeout: 200 * time.Millisecond})
	raw, hashes := s.signed(t, 3)
	s.proxies[0].Do(nodes.Faults{Swallow: true})
	for i, err := range s.network.Send(t.Context(), raw) {
		if err != nil {
			t.Errorf("transaction %d was taken, and sending it answers %v", i, err)
		}
	}
	s.proxies[0].Do(nodes.Faults{})
	s.mined(t, hashes)
}

func TestSendingReachesAllNodesAndWaitsForNone(t *testing.T) {
	s := open(t, 3, evm.Config{Timeout: 10 * time.Second})
	raw, hashes := s.signed(t, 5)
	s.proxies[0].Do(nodes.Faults{Delay: 3 * time.Second})
	s.proxies[1].Do(nodes.Faults{Down: true})
	begun := time.Now()
	must(t, errors.Join(s.network.Send(t.Context(), raw)...))
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it waited %s for a slow node", took)
	}
	s.mined(t, hashes)
	s.proxies[0].Do(nodes.Faults{})
	for deadline := time.Now().Add(10 * time.Second); len(s.proxies[0].Sent()) < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the slow node was not given the transactions")
		}
	}
}

func TestANodeThatForgetsIsNotTheOnlyOneAsked(t *testing.T) {
	s := open(t, 2, evm.Config{})
	raw, hashes := s.signed(t, 3)
	s.proxies[0].Do(nodes.Faults{Forget: true})
	must(t, errors.Join(s.network.Send(t.Context(), raw)...))
	s.mined(t, hashes)
}

func TestALimitIsRespected(t *testing.T) {
	for name, faults := range map[string]nodes.Faults{"by HTTP": {Limited: 2 * time.Second}, "in words": {Quota: true}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 1, evm.Config{})
			before := s.proxies[0].Rounds()
			s.proxies[0].Do(faults)
			for range 50 {
				if _, err := s.network.Head(t.Context()); !is(err, "chain-unreachable") {
					t.Fatalf("a node that is asked too often answers %v", err)
				}
			}
			if rounds := s.proxies[0].Rounds() - before; rounds > 3 {
				t.Errorf("it was asked %d times although it wants to be left alone", rounds)
			}
			s.proxies[0].Do(nodes.Faults{})
			s.settled(t, func([]evm.Health) bool { _, err := s.network.Head(t.Context()); return err == nil })
		})
	}
}

func TestBatchesFitTheNode(t *testing.T) {
	for name, faults := range map[string]nodes.Faults{"a limit": {MaxBatch: 3}, "no batches": {NoBatches: true}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 1, evm.Config{})
			raw, hashes := s.signed(t, 20)
			s.proxies[0].Do(faults)
			must(t, errors.Join(s.network.Send(t.Context(), raw)...))
			s.mined(t, hashes)
			for hash, times := range s.proxies[0].Sent() {
				if times != 1 {
					t.Errorf("%s was sent %d times", hash, times)
				}
			}
		})
	}
	t.Run("by bytes", func(t *testing.T) {
		s := open(t, 1, evm.Config{MaxBytes: 1000})
		raw, hashes := s.signed(t, 20)
		before := s.proxies[0].Rounds()
		must(t, errors.Join(s.network.Send(t.Context(), raw)...))
		if rounds := s.proxies[0].Rounds() - before; rounds < 5 {
			t.Errorf("20 transactions of more than 200 bytes in JSON went in %d round trips of 1000 bytes", rounds)
		}
		s.mined(t, hashes)
	})
}

// TestFaultsOfAllKindsLoseNothing sends through nodes that fail in every way at once, again while the answer is "later": each
// transaction is mined, and no other bytes were ever sent (I5, I13).
func TestFaultsOfAllKindsLoseNothing(t *testing.T) {
	s := open(t, 3, evm.Config{Timeout: 200 * time.Millisecond})
	raw, hashes := s.signed(t, 40)
	s.proxies[0].Do(nodes.Faults{Every: 5})
	s.proxies[1].Do(nodes.Faults{Swallow: true})
	s.proxies[2].Do(nodes.Faults{Every: 3, Behind: 2})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := errors.Join(s.network.Send(t.Context(), raw)...)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	s.proxies[1].Do(nodes.Faults{Every: 4})
	s.mined(t, hashes)
	known := make(map[common.Hash]bool)
	for _, hash := range hashes {
		known[common.HexToHash(hash)] = true
	}
	for _, p := range s.proxies {
		for hash := range p.Sent() {
			if !known[hash] {
				t.Errorf("%s was sent and nobody signed it", hash)
			}
		}
	}
}

func TestNodesOfDifferentChainsAreRefused(t *testing.T) {
	one, other := start(t, devchain.Config{}), start(t, devchain.Config{Folder: t.TempDir()}) // one id, two faucets: two first blocks
	if _, err := evm.Dial(t.Context(), evm.Config{URLs: []string{one.URL(), other.URL()}, ChainID: one.ChainID()}); !is(err, "chain-mismatch") {
		t.Errorf("two chains with one id are taken for one: %v", err)
	}
	if _, err := evm.Dial(t.Context(), evm.Config{URLs: []string{one.URL()}, ChainID: one.ChainID(), Quorum: 2}); !is(err, "config-invalid") {
		t.Errorf("a quorum of 2 from one node: %v", err)
	}
}

func TestContactsAreMadeAtOnce(t *testing.T) {
	c := start(t, devchain.Config{})
	urls := make([]string, 8)
	for i := range urls {
		p := nodes.NewProxy(c.URL())
		t.Cleanup(p.Close)
		p.Do(nodes.Faults{Delay: 300 * time.Millisecond})
		urls[i] = p.URL
	}
	begun := time.Now()
	dial(t, evm.Config{URLs: urls, Poll: time.Hour})
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("the first contact with 8 nodes that take 300 ms each took %s", took)
	}
}

// TestOneLyingNodeSetsNoGas: what a call needs is what the middle one of three says. Of two the one counts that says more, or too
// little would be paid for nothing, but never more than a block has. What one of two refuses, or cannot answer, the other decides.
func TestOneLyingNodeSetsNoGas(t *testing.T) {
	for name, c := range map[string]struct {
		nodes int
		lie   nodes.Faults
		want  uint64
	}{
		"too little, of three":           {3, nodes.Faults{Gas: 17_000}, 21_000},
		"too much, of three":             {3, nodes.Faults{Gas: 50_000}, 21_000},
		"too little, of two":             {2, nodes.Faults{Gas: 17_000}, 21_000},
		"too much, of two":               {2, nodes.Faults{Gas: 50_000}, 60_000}, // with the margin
		"more than a block has":          {2, nodes.Faults{Gas: 1 << 40}, 21_000},
		"it refuses, of two":             {2, nodes.Faults{Refuses: true}, 21_000},
		"it refuses, of three":           {3, nodes.Faults{Refuses: true}, 21_000},
		"it cannot answer, of two":       {2, nodes.Faults{Every: 1}, 21_000},
		"the only one estimates wrongly": {1, nodes.Faults{Gas: 50_000}, 60_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, c.nodes, evm.Config{})
			from := newAccount(t, s.chain, 1e17)
			s.proxies[0].Do(c.lie)
			txs, errs := s.network.Build(t.Context(), []chain.Call{{From: from.Address(), To: checksummed[0], Value: big.NewInt(1)}})
			must(t, errors.Join(errs...))
			if txs[0].Gas != c.want {
				t.Errorf("a transfer is given %d units of gas, not %d", txs[0].Gas, c.want)
			}
		})
	}
}

// TestWhatMostNodesRefuseIsRefused: before a nonce is spent.
func TestWhatMostNodesRefuseIsRefused(t *testing.T) {
	s := open(t, 3, evm.Config{})
	from := newAccount(t, s.chain, 1e17)
	for _, p := range s.proxies[:2] {
		p.Do(nodes.Faults{Refuses: true})
	}
	_, errs := s.network.Build(t.Context(), []chain.Call{{From: from.Address(), To: checksummed[0], Value: big.NewInt(1)}})
	if problem.From(errs[0]).Code != "execution-reverted" {
		t.Errorf("two of three nodes say that a call reverts: %v", errs[0])
	}
}

//go:build nodes

package chainfaults

import (
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/test/e2e/stage"
)

// deadly are the points at which the program is killed on a transfer's way to the chain: test/crash strikes all there are.
var deadly = []string{
	"guarantee.accept", "guarantee.commit", "keys.lease", "decisions.decide", "signer.sign", "decisions.store", "keys.release", "send",
	"transactions.mark", "action.sign", "action.send", "action.confirm",
}

// TestKilledWhileSubmitting kills the program with SIGKILL, at points and at any moment, while transfers are submitted. What was
// accepted is on the chain once, as Aval tells it (I5, I6, I12, I13, I15).
func TestKilledWhileSubmitting(t *testing.T) {
	t.Parallel()
	chance := stage.NewChance(t, *seed)
	s := newSite(t, start(t, nodes.Geth, nodes.Options{}), place{wallets: 4})
	began := time.Now()
	atPoints := 0
	for life := range *kills {
		s.order((life+1)**transfers / *kills - len(s.all))
		if s.live(chance, life) {
			atPoints++
		}
	}
	s.start("")
	last, left := time.Now(), len(s.all)-s.mined()
	for deadline := last.Add(patience); s.submit(t.Context(), 16) < len(s.all); {
		if time.Now().After(deadline) {
			t.Fatalf("not all are accepted: %s", s.process.Stderr())
		}
	}
	s.ended(3 * patience)
	settled := time.Since(last)
	others := s.check()
	check(t, s.process.Stop())
	t.Logf("%d kills (%d at points) in %s; %d transfers, each on the chain once; %d attempts besides; %s after the last start all had ended, %d of them mined since",
		*kills, atPoints, time.Since(began).Round(time.Second), len(s.all), others, settled.Round(100*time.Millisecond), left)
}

// mined is how many nonces of its wallets the chain has spent.
func (s *site) mined() (all int) {
	s.t.Helper()
	for _, w := range s.wallets {
		var count hexutil.Uint64
		check(s.t, s.node.Call(s.t.Context(), &count, "eth_getTransactionCount", w.Address, "latest"))
		all += int(count)
	}
	return all
}

// live is a life that ends with a kill; it says whether that was at a point.
func (s *site) live(chance *stage.Chance, life int) (atPoint bool) {
	s.t.Helper()
	rule := ""
	if life%2 == 0 {
		side := []string{"before", "after"}[chance.Below(2)]
		rule = fmt.Sprintf("%s.%s=kill@%d", deadly[chance.Below(len(deadly))], side, 1+chance.Below(4))
	}
	delay := time.Duration(chance.Below(600)) * time.Millisecond
	s.start(rule)
	submitted := make(chan int)
	go func() { submitted <- s.submit(s.t.Context(), 16) }()
	if rule != "" {
		delay = 3 * time.Second // it is reached long before, or is not on the way of what is left
	}
	select {
	case <-s.process.Done:
		atPoint = true
	case <-time.After(delay): // the moment is chance
		s.process.Kill()
	}
	<-submitted
	if !s.process.Killed() {
		s.t.Fatalf("life %d, %s: it was not killed: %v", life, rule, s.process.Err())
	}
	return atPoint
}

// TestFiftyAtOnce submits fifty transfers of one wallet at the same moment: fifty successes, with consecutive nonces.
func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, start(t, nodes.Geth, nodes.Options{}), place{wallets: 1})
	s.start("")
	s.order(50)
	if accepted := s.submit(t.Context(), 50); accepted != 50 {
		t.Fatalf("%d of 50 were accepted", accepted)
	}
	s.ended(patience)
	if others := s.check(); others != 0 {
		t.Errorf("%d transactions were sent besides the 50 that are mined", others)
	}
	check(t, s.process.Stop())
}

//go:build nodes

package chainfaults

import (
	"errors"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
)

// archive has geth write each block's state down at once, so that a node that was killed comes back with all of its blocks.
var archive = []string{"--gcmode", "archive", "--state.scheme", "hash"}

// TestASickNodeHoldsNothingUpForLong sends over geth, a block a second, through a way to it that is sick in one way after the
// other, and while the node is killed and comes back. In the end each transaction is mined once, and the node was never given
// bytes that no decision covers.
func TestASickNodeHoldsNothingUpForLong(t *testing.T) {
	t.Parallel()
	node := start(t, nodes.Geth, nodes.Options{Arguments: archive})
	sick := nodes.NewProxy(node.URL())
	t.Cleanup(sick.Close)
	r := newRoom(t, node, setup{policy: standard, config: evm.Config{Timeout: 500 * time.Millisecond}})
	r.wire.Lead(sick.URL)
	for _, c := range []struct {
		what   string
		faults nodes.Faults
	}{
		{what: "a fifth of all requests fails", faults: nodes.Faults{Every: 5}},
		{what: "it takes transactions and gives no answer", faults: nodes.Faults{Swallow: true}},
		{what: "it takes transactions and forgets them", faults: nodes.Faults{Forget: true}},
		{what: "it lags", faults: nodes.Faults{Behind: 3}},
		{what: "it asks to be left alone", faults: nodes.Faults{Limited: time.Second}},
		{what: "it is away", faults: nodes.Faults{Down: true}},
	} {
		before := r.decide(t, 5, nil)
		sick.Do(c.faults)
		check(t, errors.Join(r.keeper.Offer(t.Context(), before)...))
		time.Sleep(1500 * time.Millisecond) // so long, with a block at least, it is sick
		sick.Do(nodes.Faults{})
		began := time.Now()
		r.confirmed(t, before, nil)
		t.Logf("%s: %s after it was well, all were confirmed", c.what, time.Since(began).Round(100*time.Millisecond))
	}
	r.killNode(t)
	for i, tx := range r.check(t) {
		if a, _ := tx.Ended(); a.Kind == transaction.NoOp {
			t.Errorf("transaction %d was given up: events %v", i, words(r.events(t, tx)))
		}
	}
}

// killNode ends the node with SIGKILL while transactions wait in its pool, and starts it again on what it has stored.
func (r *room) killNode(t *testing.T) {
	t.Helper()
	steps := r.send(t, 20, nil)
	check(t, r.node.Kill())
	time.Sleep(time.Second) // the keeper asks a node that is not there
	check(t, r.node.Start(t.Context()))
	began := time.Now()
	r.confirmed(t, steps, nil)
	t.Logf("killed: %s after it was back, all were confirmed", time.Since(began).Round(100*time.Millisecond))
}

// TestI14AHeadThatIsALieConfirmsNothing: one of three nodes tells a head that is ten blocks too high, or too low. What counts as
// confirmed is as deep as it has to be by the blocks of the others.
func TestI14AHeadThatIsALieConfirmsNothing(t *testing.T) {
	for name, faults := range map[string]nodes.Faults{"ahead": {Ahead: 10}, "behind": {Behind: 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := still(t)
			proxies := make([]*nodes.Proxy, 3)
			r := newRoom(t, node, setup{policy: patient, config: evm.Config{Quorum: 2}, via: several(t, proxies)})
			r.mine(t, 20)
			proxies[0].Do(faults)
			eventually(t, "the lie to be found out", func() bool { return !r.network.Health()[0].Up }, func() string { return "it counts as well" })
			steps := r.send(t, 3, nil)
			r.pooled(t, steps)
			r.mine(t, 1)
			r.recorded(t, steps) // as mined: one block is not deep enough
			r.mine(t, 1)
			r.recorded(t, steps) // as confirmed, whatever the one says
			r.check(t)
		})
	}
}

// several puts a proxy of each way between Aval and the wire.
func several(t *testing.T, ways []*nodes.Proxy) func(wire string) []string {
	return func(wire string) (urls []string) {
		for i := range ways {
			ways[i] = nodes.NewProxy(wire)
			t.Cleanup(ways[i].Close)
			urls = append(urls, ways[i].URL)
		}
		return urls
	}
}

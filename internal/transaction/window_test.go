package transaction_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// widths is what a keeper tells of the window of its lane.
type widths struct {
	mu  sync.Mutex
	all []uint64
}

func (w *widths) see(s transaction.Sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 || w.all[len(w.all)-1] != s.Window {
		w.all = append(w.all, s.Window)
	}
}

func (w *widths) seen() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]uint64(nil), w.all...)
}

// crammed is a node that has room for so many transactions of an address, and tells when there are more.
type crammed struct {
	chain.Network
	room   atomic.Int64 // 0: for all
	most   atomic.Int64 // that it was given at once
	sender string
}

func (c *crammed) Send(ctx context.Context, raw [][]byte) []error {
	errs := make([]error, len(raw))
	account, err := c.Account(ctx, c.sender)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	waiting := int64(account.Pending - account.Nonce)
	c.most.Store(max(c.most.Load(), waiting+int64(len(raw))))
	taken := len(raw)
	if room := c.room.Load(); room > 0 {
		taken = int(min(int64(taken), max(room-waiting, 0)))
	}
	copy(errs, c.Network.Send(ctx, raw[:taken]))
	for i := taken; i < len(raw); i++ {
		errs[i] = problem.New(problem.Unavailable, "chain-busy", "the pool is full")
	}
	return errs
}

// TestAWindowFollowsTheNodesAnswers: it grows while it is what holds the lane up, to its limit; it is halved when the node has no room,
// and grows again when it has. Everything is mined, and nothing is given to the node that the window does not admit.
func TestAWindowFollowsTheNodesAnswers(t *testing.T) {
	var seen widths
	rules := quick
	rules.Window, rules.Widest = 16, 40
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: rules, Observe: transaction.Observer{Lane: seen.see}})
	node := &crammed{Network: r.network, sender: r.k.Address}
	r.keeper = transaction.New(transaction.Ports{Store: r.store, Network: node, Follower: r.network, Market: r.network, Signer: r.signer, Keys: r.keys}, r.options)
	r.run(t)
	send := func() {
		steps := r.sign(t, 300, nil)
		check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
		r.ended(t, steps)
	}
	send()
	all := seen.seen()
	if all[0] != 16 || all[len(all)-1] != 40 || node.most.Load() > 40 {
		t.Fatalf("with room for all the window was %v, and the node had %d at once", all, node.most.Load())
	}
	if node.most.Load() <= 24 {
		t.Errorf("the window was %v, and the node had no more than %d at once", all, node.most.Load())
	}
	for i := 1; i < len(all); i++ {
		if all[i] != min(all[i-1]+8, 40) {
			t.Errorf("it grew from %d to %d", all[i-1], all[i])
		}
	}
	node.room.Store(10)
	send()
	node.room.Store(0)
	all = seen.seen()
	low := all[len(all)-1]
	for _, w := range all {
		low = min(low, w)
	}
	if low >= 16 || low < 8 {
		t.Errorf("with room for 10 it went no lower than %d: %v", low, all)
	}
	send()
	if all = seen.seen(); all[len(all)-1] <= low {
		t.Errorf("with room again it stays at %d: %v", all[len(all)-1], all)
	}
}

// TestAWindowThatIsNotFullStays: a lane that keeps within its window needs no wider one.
func TestAWindowThatIsNotFullStays(t *testing.T) {
	var seen widths
	rules := quick
	rules.Window, rules.Widest = 16, 40
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: rules, Observe: transaction.Observer{Lane: seen.see}})
	r.run(t)
	for range 4 {
		steps := r.sign(t, 12, nil)
		check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
		r.ended(t, steps)
	}
	if all := seen.seen(); len(all) != 1 || all[0] != 16 {
		t.Errorf("the window was %v", all)
	}
}

package evm

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// Heads tells the number of the newest block that the nodes agree on, now and whenever it changes, until ctx ends or the
// Network is closed, which closes the channel. Only the newest is kept for a slow reader. Over WebSocket and IPC a node tells;
// Poll is the net under it, and all there is over HTTP. However many follow, each node is asked once. A node that cannot be
// reached is asked again; it is no error here.
func (n *Network) Heads(ctx context.Context) <-chan uint64 {
	n.watch()
	heads := make(chan uint64, 1)
	leave := n.viewers.join(heads)
	if !n.spawn(func(life context.Context) {
		select {
		case <-ctx.Done():
		case <-life.Done():
		}
		leave()
		close(heads)
	}) {
		leave()
		close(heads)
	}
	return heads
}

// watch follows each node's head from now on.
func (n *Network) watch() {
	n.watching.Do(func() {
		for _, e := range n.endpoints {
			n.spawn(func(life context.Context) { e.follow(life, n.tell) })
		}
	})
}

func (n *Network) tell() {
	if level, known := n.level(); known {
		n.viewers.tell(level)
	}
}

// viewers are who follows the head.
type viewers struct {
	mu     sync.Mutex
	newest uint64
	told   bool
	all    map[chan uint64]struct{}
}

// join adds a channel of one place and tells it the newest head if there is one; leave takes it out: then nothing is sent to it
// any more.
func (v *viewers) join(heads chan uint64) (leave func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = make(map[chan uint64]struct{})
	}
	v.all[heads] = struct{}{}
	if v.told {
		heads <- v.newest
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.all, heads)
	}
}

func (v *viewers) tell(head uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told && head == v.newest {
		return
	}
	v.newest, v.told = head, true
	for heads := range v.all {
		select { // take out what was not read; nobody else sends
		case <-heads:
		default:
		}
		heads <- head
	}
}

type newHead struct {
	Number hexutil.Uint64 `json:"number"`
}

// follow keeps the head of this node up to date and calls told after each change, until ctx ends.
func (e *endpoint) follow(ctx context.Context, told func()) {
	news := make(chan newHead, 16)
	var subscribed *rpc.ClientSubscription
	var lost <-chan error
	defer func() {
		if subscribed != nil {
			subscribed.Unsubscribe()
		}
	}()
	poll := time.NewTicker(e.config.Poll)
	defer poll.Stop()
	e.askHead(ctx, told)
	for {
		if subscribed == nil {
			if subscribed = e.subscribe(ctx, news); subscribed != nil {
				lost = subscribed.Err()
			}
		}
		select {
		case <-ctx.Done():
			return
		case head := <-news:
			e.reached(uint64(head.Number), told)
		case <-lost: //nolint:errcheck // why does not matter: it is subscribed again
			subscribed, lost = nil, nil
			e.doubt()
		case <-poll.C:
			e.askHead(ctx, told)
		}
	}
}

func (e *endpoint) askHead(ctx context.Context, told func()) {
	var head hexutil.Uint64
	if err := e.read(ctx, []rpc.BatchElem{request(&head, "eth_blockNumber")}); err == nil {
		e.reached(uint64(head), told)
		return
	}
	told() // the others may agree on another head without it
}

func (e *endpoint) reached(head uint64, told func()) {
	e.mu.Lock()
	e.head, e.told = head, true
	e.mu.Unlock()
	told()
}

// subscribe answers nil where the connection cannot tell, or not now.
func (e *endpoint) subscribe(ctx context.Context, news chan newHead) *rpc.ClientSubscription {
	at := e.link.Load()
	if at == nil || !at.checked || !at.client.SupportsSubscriptions() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	subscribed, err := at.client.EthSubscribe(ctx, news, "newHeads")
	if err != nil {
		return nil
	}
	return subscribed
}

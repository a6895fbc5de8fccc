package evm

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Heads tells the number of the newest block whenever it changes, until ctx ends, which closes the channel. Only the newest
// is kept for a slow reader. Over WebSocket and IPC the node tells; Poll is the net under it, and all there is over HTTP.
// A node that cannot be reached is asked again; it is no error here.
func (n *Network) Heads(ctx context.Context) <-chan uint64 {
	heads := make(chan uint64, 1)
	go func() {
		defer close(heads)
		n.watch(ctx, heads)
	}()
	return heads
}

type subscription interface {
	Err() <-chan error
	Unsubscribe()
}

func (n *Network) watch(ctx context.Context, heads chan uint64) {
	told := make(chan newHead, 16)
	var subscribed subscription
	var lost <-chan error
	defer func() {
		if subscribed != nil {
			subscribed.Unsubscribe()
		}
	}()
	poll := time.NewTicker(n.config.Poll)
	defer poll.Stop()
	var newest uint64
	report := func(number uint64) {
		if number != newest {
			newest = number
			replace(heads, number)
		}
	}
	ask := func() {
		if number, err := n.Head(ctx); err == nil {
			report(number)
		}
	}
	ask()
	for {
		if subscribed == nil {
			if subscribed = n.subscribe(ctx, told); subscribed != nil {
				lost = subscribed.Err()
			}
		}
		select {
		case <-ctx.Done():
			return
		case head := <-told:
			report(uint64(head.Number))
		case <-lost: //nolint:errcheck // why does not matter: it is subscribed again
			subscribed, lost = nil, nil
		case <-poll.C:
			ask()
		}
	}
}

type newHead struct {
	Number hexutil.Uint64 `json:"number"`
}

// subscribe answers nil where the connection cannot tell, or not now.
func (n *Network) subscribe(ctx context.Context, told chan newHead) subscription {
	client, err := n.connect(ctx)
	if err != nil || !client.SupportsSubscriptions() {
		return nil
	}
	subscribed, err := client.EthSubscribe(ctx, told, "newHeads")
	if err != nil {
		return nil
	}
	return subscribed
}

// replace puts the number in the place of one that was not read.
func replace(heads chan uint64, number uint64) {
	for {
		select {
		case heads <- number:
			return
		default:
		}
		select {
		case <-heads:
		default:
		}
	}
}

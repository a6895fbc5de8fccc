package devchain

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/miner"
)

// gather is how long an idle chain waits after a transaction for others that come with it.
const gather = 5 * time.Millisecond

// begin makes the first block and waits until the node knows where each transaction is: it answers questions about
// transactions only when its index is complete, and never completes that of a chain without a block.
func (c *Chain) begin(ctx context.Context) error {
	if c.eth.BlockChain().CurrentBlock().Number.Sign() == 0 {
		if _, err := c.seal(); err != nil {
			return err
		}
	}
	for !c.eth.APIBackend.TxIndexDone() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return c.markBegun()
}

// startProducing returns once transactions wake the producer.
func (c *Chain) startProducing() {
	waiting := make(chan core.NewTxsEvent, 256)
	subscription := c.eth.TxPool().SubscribeTransactions(waiting, true)
	c.produced = make(chan struct{})
	go func() {
		defer close(c.produced)
		defer subscription.Unsubscribe()
		c.produce(waiting)
	}()
}

func (c *Chain) stopProducing() {
	close(c.quit)
	<-c.produced
}

// finality is the depth at which a block counts as final: the node moves such blocks out of its database into flat files.
const finality = 64

// produce makes blocks while there is a reason to: transactions that wait, or a trail to finish.
func (c *Chain) produce(waiting <-chan core.NewTxsEvent) {
	var trail int
	var last time.Time // when the newest block was made
	var due <-chan time.Time
	for {
		select {
		case <-c.quit:
			return
		case <-waiting:
			if due == nil {
				due = time.After(max(gather, time.Until(last.Add(c.config.BlockTime))))
			}
		case <-due:
			due = nil
			count, left, err := c.turn(trail > 0)
			last = time.Now()
			switch {
			case err != nil:
				log.Error("The development chain could not make a block", "err", err)
			case count > 0:
				trail = c.config.Trail
			case trail > 0:
				trail--
			}
			if err != nil || left || trail > 0 {
				due = time.After(c.config.BlockTime)
			}
		}
	}
}

// turn makes a block when transactions wait, or an empty one when it may. It answers how many it took in and whether some
// are left.
func (c *Chain) turn(empty bool) (count int, left bool, err error) {
	c.sealing.Lock() // the pool's Sync, too, is for one at a time: a second forgets the first, which then waits for ever
	defer c.sealing.Unlock()
	if err := c.eth.TxPool().Sync(); err != nil { // the pool must have seen the newest block
		return 0, false, fmt.Errorf("waiting for the transaction pool: %w", err)
	}
	pending, _ := c.eth.TxPool().Stats()
	if pending == 0 && !empty {
		return 0, false, nil
	}
	block, err := c.seal()
	if err != nil {
		return 0, pending > 0, err
	}
	return len(block.Transactions()), pending > len(block.Transactions()), nil
}

// Reorg gives up the newest blocks and puts one more than as many others in their place. The transactions of the old blocks
// are in the pool again and so in the first of the new ones: mined, but elsewhere. It is for tests of confirmation (I14).
func (c *Chain) Reorg(depth uint64) error {
	c.sealing.Lock()
	defer c.sealing.Unlock()
	chain := c.eth.BlockChain()
	head := chain.CurrentBlock().Number.Uint64()
	if depth >= min(head, finality) {
		return fmt.Errorf("%d blocks cannot be given up: the chain has %d, and those %d deep are final", depth, head, finality)
	}
	if _, err := chain.SetCanonical(chain.GetBlockByNumber(head - depth)); err != nil {
		return fmt.Errorf("going back %d blocks: %w", depth, err)
	}
	for range depth + 1 {
		if err := c.eth.TxPool().Sync(); err != nil {
			return fmt.Errorf("waiting for the transaction pool: %w", err)
		}
		if _, err := c.seal(); err != nil {
			return err
		}
	}
	return nil
}

// seal makes the next block. The block is on stable storage before it becomes the head, and so before anyone can see it.
// The caller holds c.sealing once the producer runs.
func (c *Chain) seal() (*types.Block, error) {
	chain := c.eth.BlockChain()
	head := chain.CurrentBlock()
	args := &miner.BuildPayloadArgs{
		Parent:      head.Hash(),
		Timestamp:   max(head.Time+1, uint64(time.Now().Unix())),
		Withdrawals: types.Withdrawals{},
		BeaconRoot:  &common.Hash{},
	}
	if _, err := rand.Read(args.Random[:]); err != nil {
		return nil, err
	}
	block, _, err := c.eth.Miner().BuildTestingPayload(args, nil, false, nil)
	if err != nil {
		return nil, fmt.Errorf("building block %d: %w", head.Number.Uint64()+1, err)
	}
	if _, err := chain.InsertBlockWithoutSetHead(context.Background(), block, false); err != nil {
		return nil, fmt.Errorf("inserting block %d: %w", block.NumberU64(), err)
	}
	if err := c.eth.ChainDb().SyncKeyValue(); err != nil {
		return nil, fmt.Errorf("storing block %d: %w", block.NumberU64(), err)
	}
	if _, err := chain.SetCanonical(block); err != nil {
		return nil, fmt.Errorf("making block %d the head: %w", block.NumberU64(), err)
	}
	if block.NumberU64() > finality {
		chain.SetFinalized(chain.GetHeaderByNumber(block.NumberU64() - finality))
	}
	return block, nil
}

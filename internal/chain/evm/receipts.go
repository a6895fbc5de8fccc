package evm

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/singleflight"
)

// A node finds a receipt by reading its whole block, so asking for each of a thousand in one block costs it a thousand times as
// much as asking for the block. From so many on, whole blocks are asked for.
const (
	many       = 16
	keptBlocks = 16 // with their receipts, for those who ask for others of the same block
	probes     = 4  // blocks that one question looks for
)

// ledger keeps the receipts of whole blocks by the blocks' hashes: what a hash names never changes. Whether the block is still
// canonical is another question, asked each time.
type ledger struct {
	mu      sync.Mutex
	blocks  map[common.Hash]map[common.Hash]*receipt
	order   []common.Hash // of blocks, the oldest first
	none    bool          // the node does not tell the receipts of a block
	reading singleflight.Group
}

// open are the places of hashes that have no receipt, after those that are kept were filled in.
func (l *ledger) open(wanted []common.Hash, receipts []*receipt) (open []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, hash := range wanted {
		for at := len(l.order) - 1; at >= 0 && receipts[i] == nil; at-- {
			receipts[i] = l.blocks[l.order[at]][hash]
		}
		if receipts[i] == nil {
			open = append(open, i)
		}
	}
	return open
}

// of is the receipt of a transaction in a block that is kept.
func (l *ledger) of(block, hash common.Hash) *receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocks[block][hash]
}

func (l *ledger) keep(block common.Hash, all []*receipt) {
	byHash := make(map[common.Hash]*receipt, len(all))
	for _, r := range all {
		if r == nil || r.Block != block {
			return // of another block than the one that was asked for
		}
		byHash[r.Tx] = r
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocks == nil {
		l.blocks = make(map[common.Hash]map[common.Hash]*receipt)
	}
	if l.blocks[block] == nil {
		l.order = append(l.order, block)
	}
	l.blocks[block] = byHash
	if len(l.order) > keptBlocks {
		delete(l.blocks, l.order[0])
		l.order = l.order[1:]
	}
}

// forget drops a block that is not canonical: its transactions may be in another one.
func (l *ledger) forget(block common.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocks[block] == nil {
		return
	}
	delete(l.blocks, block)
	for i, kept := range l.order {
		if kept == block {
			l.order = append(l.order[:i:i], l.order[i+1:]...)
			return
		}
	}
}

func (l *ledger) useless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.none
}

// gather fills in what whole blocks tell. What it leaves open, also when something fails, is asked for one by one.
func (e *endpoint) gather(ctx context.Context, wanted []common.Hash, receipts []*receipt) {
	for range probes {
		open := e.ledger.open(wanted, receipts)
		if len(open) < many || e.ledger.useless() {
			return
		}
		var probe [2]*receipt // the first is mined when any is; the one in the middle may be in another block
		err := e.read(ctx, []rpc.BatchElem{
			request(&probe[0], "eth_getTransactionReceipt", wanted[open[0]]), request(&probe[1], "eth_getTransactionReceipt", wanted[open[len(open)/2]]),
		})
		if err != nil || probe[0] == nil && probe[1] == nil {
			return
		}
		for i, r := range probe {
			if r != nil && (i == 0 || probe[0] == nil || r.Block != probe[0].Block) && !e.readBlock(ctx, r.Block) {
				return
			}
		}
	}
}

// readBlock asks for a block's receipts, once for all who want them now.
func (e *endpoint) readBlock(ctx context.Context, block common.Hash) (told bool) {
	answer, _, _ := e.ledger.reading.Do(block.Hex(), func() (any, error) {
		var all []*receipt
		elems := []rpc.BatchElem{request(&all, "eth_getBlockReceipts", block)}
		if err := e.batch(ctx, elems); err != nil || elems[0].Error != nil {
			e.ledger.mu.Lock()
			defer e.ledger.mu.Unlock()
			e.ledger.none = e.ledger.none || classify(elems[0].Error) == unsupported
			return false, nil
		}
		e.ledger.keep(block, all)
		return len(all) > 0, nil
	})
	return answer.(bool)
}

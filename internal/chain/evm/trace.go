package evm

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
)

// Trace finds what a nonce was used for. Nodes throw away first the index of old transactions, then receipts and bodies of old blocks
// (EIP-4444), and most of them the state of all but the newest blocks; headers they keep. So each node is asked for
// the receipts by hash; whether the block of an earlier sighting is still canonical; and at last, by what addresses had sent at
// earlier blocks, for the block in which the nonce was spent, and for what that holds. All nodes are asked; one answer has to be
// that of a quorum, and no other one.
func (n *Network) Trace(ctx context.Context, u chain.Use) (chain.Trace, error) {
	wanted, err := parseHashes(u.Hashes)
	if err != nil {
		return chain.Trace{}, err
	}
	address, err := parseAddress(u.Address)
	if err != nil {
		return chain.Trace{}, err
	}
	told, err := among(ctx, n, len(n.endpoints), len(n.endpoints), func(ctx context.Context, e *endpoint) (finding, error) {
		return e.trace(ctx, address, wanted, u)
	})
	if err != nil {
		return chain.Trace{}, err
	}
	return agreed(told, u.Seen, n.config.Quorum), nil
}

// finding is what one node knows of a use.
type finding struct {
	chain.Trace
	unseen bool // the block of the sighting is there, and does not hold it
}

// agreed is the one answer that so many nodes give. A receipt that one of them has counts for all of those. That a sighting is so is no
// answer once a node shows that its block does not hold it.
func agreed(told []finding, seen chain.Sighting, quorum int) (answer chain.Trace) {
	alike := map[chain.Sighting][]chain.Trace{}
	unseen := slices.ContainsFunc(told, func(f finding) bool { return f.unseen })
	for _, f := range told {
		t := f.Trace
		if unseen && t.Hash == seen.Hash && t.Status.Block == seen.Block {
			return chain.Trace{}
		}
		if t.Known {
			place := chain.Sighting{Hash: t.Hash, Block: t.Status.Block, BlockHash: t.Status.Hash}
			alike[place] = append(alike[place], t)
		}
	}
	for _, same := range alike {
		if len(same) < quorum {
			continue
		}
		if answer.Known {
			return chain.Trace{} // two that contradict each other
		}
		answer = same[0]
		if at := slices.IndexFunc(same, func(t chain.Trace) bool { return t.Ended }); at > 0 {
			answer = same[at]
		}
	}
	return answer
}

// trace is what this node knows.
func (e *endpoint) trace(ctx context.Context, address common.Address, wanted []common.Hash, u chain.Use) (f finding, err error) {
	statuses, err := e.status(ctx, wanted)
	if err != nil {
		return f, err
	}
	for i, s := range statuses {
		if s.State == chain.Mined {
			f.Trace = chain.Trace{Known: true, Hash: u.Hashes[i], Ended: true, Status: s}
			return f, nil
		}
	}
	var head hexutil.Uint64
	if err := e.read(ctx, []rpc.BatchElem{request(&head, "eth_blockNumber")}); err != nil {
		return f, err
	}
	if u.Seen.Hash != "" {
		if f, err = e.sighted(ctx, u.Seen, uint64(head)); err != nil || f.Known {
			return f, err
		}
	}
	f.Trace, err = e.search(ctx, address, u, uint64(head))
	return f, err
}

// sighted says whether the block of a sighting is canonical, and where the sighting does not name it, whether it can hold the transaction.
func (e *endpoint) sighted(ctx context.Context, seen chain.Sighting, head uint64) (f finding, err error) {
	b, err := e.body(ctx, seen.Block, false)
	if b == nil && err == nil {
		b, err = e.header(ctx, seen.Block)
	}
	switch {
	case err != nil || b == nil:
	case b.Hash.Hex() == seen.BlockHash:
		f.Trace = chain.Trace{Known: true, Hash: seen.Hash, Status: b.place(head)}
	case seen.BlockHash != "":
	case b.mayHold(seen.Hash):
		f.Trace = e.found(ctx, b, common.HexToHash(seen.Hash), []string{seen.Hash}, head)
	default:
		f.unseen = true
	}
	return f, err
}

// search finds the block in which the nonce was spent, by halves, and what that block holds. State that the node does not have counts
// as one in which it was not spent yet; only where the block before is one that the node does have is it sure that it was this block.
func (e *endpoint) search(ctx context.Context, address common.Address, u chain.Use, head uint64) (chain.Trace, error) {
	spent, told, err := e.spentAt(ctx, address, u.Nonce, head)
	if err != nil || !told || !spent {
		return chain.Trace{}, err // this node has not come so far
	}
	before, at, sure := uint64(0), head, true // spent at the second, not at the first as far as it tells
	for before+1 < at {
		middle := before + (at-before)/2
		if spent, told, err = e.spentAt(ctx, address, u.Nonce, middle); err != nil {
			return chain.Trace{}, err
		}
		if spent {
			at = middle
		} else {
			before, sure = middle, told
		}
	}
	b, err := e.body(ctx, at, true)
	if err != nil || b == nil {
		return chain.Trace{}, err
	}
	switch hash, found, whole := b.by(address, u.Nonce); {
	case found:
		return e.found(ctx, b, hash, u.Hashes, head), nil
	case whole && sure: // spent, and by no transaction of the address: an authorization (EIP-7702)
		return chain.Trace{Known: true}, nil
	}
	return chain.Trace{}, nil
}

// past is a batch about the past: whatever a node says that it cannot tell, in words that nobody has to know, it cannot tell.
func (e *endpoint) past(ctx context.Context, elems []rpc.BatchElem) error {
	return e.insistently(ctx, elems, func(c class) bool { return c != limited && c != unreached && c != tooLarge })
}

// spentAt says whether the address had used the nonce at a block, where the node has its state.
func (e *endpoint) spentAt(ctx context.Context, address common.Address, nonce, block uint64) (spent, told bool, err error) {
	var count *hexutil.Uint64
	err = e.past(ctx, []rpc.BatchElem{request(&count, "eth_getTransactionCount", address, hexutil.Uint64(block))})
	return count != nil && uint64(*count) > nonce, count != nil, err
}

// body is a block. Its transactions are hashes, or whole.
type body struct {
	Hash         common.Hash     `json:"hash"`
	Number       hexutil.Uint64  `json:"number"`
	Root         common.Hash     `json:"transactionsRoot"`
	Transactions json.RawMessage `json:"transactions"`
}

// body reads a block; nil where the node does not have so much of it.
func (e *endpoint) body(ctx context.Context, number uint64, whole bool) (b *body, err error) {
	err = e.past(ctx, []rpc.BatchElem{request(&b, "eth_getBlockByNumber", hexutil.Uint64(number), whole)})
	return b, err
}

// header reads a block without its transactions, of a node that has thrown these away (geth has the method, not all nodes do); nil where
// the node does not have that either.
func (e *endpoint) header(ctx context.Context, number uint64) (b *body, err error) {
	err = e.past(ctx, []rpc.BatchElem{request(&b, "eth_getHeaderByNumber", hexutil.Uint64(number))})
	return b, err
}

// by finds the transaction of an address with a nonce. A block in which a nonce was spent and that has no transactions is not whole.
func (b *body) by(address common.Address, nonce uint64) (hash common.Hash, found, whole bool) {
	var all []struct {
		Hash  common.Hash    `json:"hash"`
		From  common.Address `json:"from"`
		Nonce hexutil.Uint64 `json:"nonce"`
	}
	if json.Unmarshal(b.Transactions, &all) != nil {
		return hash, false, false
	}
	for _, tx := range all {
		if tx.From == address && uint64(tx.Nonce) == nonce {
			return tx.Hash, true, true
		}
	}
	return hash, false, len(all) > 0
}

// mayHold says whether nothing is known against it that the block, read with hashes, holds a transaction.
func (b *body) mayHold(hash string) bool {
	var all []string
	if json.Unmarshal(b.Transactions, &all) != nil || len(all) == 0 {
		return b.Root != types.EmptyTxsHash
	}
	return slices.Contains(all, hash)
}

// place is where a transaction of the block is.
func (b *body) place(head uint64) chain.Status {
	number := uint64(b.Number)
	return chain.Status{State: chain.Mined, Head: head, Block: number, Hash: b.Hash.Hex(), Depth: max(head+1, number+1) - number}
}

// found says which of the hashes a block's transaction has, and how it ended where the block's receipts tell.
func (e *endpoint) found(ctx context.Context, b *body, hash common.Hash, hashes []string, head uint64) chain.Trace {
	t := chain.Trace{Known: true}
	if at := slices.Index(hashes, hash.Hex()); at >= 0 {
		t.Hash, t.Status = hashes[at], b.place(head)
		e.readBlock(ctx, b.Hash)
		if r := e.ledger.of(b.Hash, hash); r != nil {
			t.Ended, t.Status = true, r.status(head)
		}
	}
	return t
}

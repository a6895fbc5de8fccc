package evm

import (
	"context"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// receipt is the part of a transaction receipt that matters here.
type receipt struct {
	Tx      common.Hash    `json:"transactionHash"`
	Block   common.Hash    `json:"blockHash"`
	Number  hexutil.Uint64 `json:"blockNumber"`
	Status  hexutil.Uint64 `json:"status"`
	GasUsed hexutil.Uint64 `json:"gasUsed"`
	Price   *hexutil.Big   `json:"effectiveGasPrice"`
}

// Status looks transactions up: receipts, of many those of whole blocks, and the head; then whether each receipt's block is
// the canonical one of its number (I14), and what has no receipt. A receipt of a block that was reorganised away is Pending, and
// so is one of a block above the head: the node's balances do not show it yet. Of several nodes' answers the cautious one
// counts: mined is what all have in the same block, as deep as the least of them has it; unknown is what none has.
func (n *Network) Status(ctx context.Context, hashes []string) ([]chain.Status, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	wanted, err := parseHashes(hashes)
	if err != nil {
		return nil, err
	}
	seen, err := several(ctx, n, func(ctx context.Context, e *endpoint) ([]chain.Status, error) { return e.status(ctx, wanted) })
	if err != nil {
		return nil, err
	}
	cautious := seen[0]
	for _, other := range seen[1:] {
		for i := range cautious {
			cautious[i] = lesser(cautious[i], other[i])
		}
	}
	return cautious, nil
}

// lesser is what two nodes agree on.
func lesser(a, b chain.Status) chain.Status {
	switch {
	case a.State == chain.Mined && b.State == chain.Mined && a.Hash == b.Hash:
		a.Depth, a.Head = min(a.Depth, b.Depth), min(a.Head, b.Head)
		return a
	case a.State == chain.Unknown && b.State == chain.Unknown:
		a.Head = min(a.Head, b.Head)
		return a
	}
	return chain.Status{State: chain.Pending, Head: min(a.Head, b.Head)}
}

// status is what this node says.
func (e *endpoint) status(ctx context.Context, wanted []common.Hash) ([]chain.Status, error) {
	receipts := make([]*receipt, len(wanted))
	e.gather(ctx, wanted, receipts)
	elems := make([]rpc.BatchElem, 0, len(wanted)+1)
	for i, hash := range wanted {
		if receipts[i] == nil {
			elems = append(elems, request(&receipts[i], "eth_getTransactionReceipt", hash))
		}
	}
	var head hexutil.Uint64 // last: not older than the receipts
	if err := e.history(ctx, append(elems, request(&head, "eth_blockNumber"))); err != nil {
		return nil, err
	}
	canonical, err := e.canonical(ctx, receipts)
	if err != nil {
		return nil, err
	}
	known, err := e.pooled(ctx, wanted, receipts)
	if err != nil {
		return nil, err
	}
	statuses := make([]chain.Status, len(wanted))
	for i, r := range receipts {
		if r != nil && displaced(canonical, r) {
			e.ledger.forget(r.Block)
		}
		switch {
		case r != nil && r.Number <= head && canonical[r.Number] == r.Block:
			statuses[i] = r.status(uint64(head))
		case r != nil || known[wanted[i]]:
			statuses[i] = chain.Status{State: chain.Pending, Head: uint64(head)}
		default:
			statuses[i] = chain.Status{State: chain.Unknown, Head: uint64(head)}
		}
	}
	return statuses, nil
}

// displaced says whether another block was told in the place of the receipt's. That none was told says nothing about it.
func displaced(canonical map[hexutil.Uint64]common.Hash, r *receipt) bool {
	now, told := canonical[r.Number]
	return told && now != r.Block
}

// few is of how many blocks the hashes are asked for together with others: a lane that has many to catch up with holds up none.
const few = 16

// canonical gives the hashes of the blocks that the receipts' numbers have now, as far as the node tells them. Lanes that are looked at
// together have their receipts in the same few blocks: they are asked for together.
func (e *endpoint) canonical(ctx context.Context, receipts []*receipt) (map[hexutil.Uint64]common.Hash, error) {
	var numbers []hexutil.Uint64
	for _, r := range receipts {
		if r != nil && !slices.Contains(numbers, r.Number) {
			numbers = append(numbers, r.Number)
		}
	}
	if len(numbers) > few {
		return e.named(ctx, numbers)
	}
	hashes, err := e.numbered.Get(ctx, numbers...)
	if err != nil {
		return nil, e.unanswered("eth_getBlockByNumber", err)
	}
	return hashes, nil
}

// named asks for the hashes of the blocks of some numbers, for all who ask at the same time: what the node has no block for, or cannot
// tell of one, is left out.
func (e *endpoint) named(ctx context.Context, numbers []hexutil.Uint64) (map[hexutil.Uint64]common.Hash, error) {
	blocks := make([]*struct {
		Hash common.Hash `json:"hash"`
	}, len(numbers))
	elems := make([]rpc.BatchElem, len(numbers))
	for i, number := range numbers {
		elems[i] = request(&blocks[i], "eth_getBlockByNumber", number, false)
	}
	if err := e.insistently(ctx, elems, class.single); err != nil {
		return nil, err
	}
	hashes := make(map[hexutil.Uint64]common.Hash, len(numbers))
	for i, block := range blocks {
		if block != nil {
			hashes[numbers[i]] = block.Hash
		}
	}
	return hashes, nil
}

// pooled says which of the transactions that have no receipt the node knows.
func (e *endpoint) pooled(ctx context.Context, wanted []common.Hash, receipts []*receipt) (map[common.Hash]bool, error) {
	found := make(map[common.Hash]**struct{})
	var elems []rpc.BatchElem
	for i, r := range receipts {
		if r == nil && found[wanted[i]] == nil {
			found[wanted[i]] = new(*struct{})
			elems = append(elems, request(found[wanted[i]], "eth_getTransactionByHash", wanted[i]))
		}
	}
	if err := e.history(ctx, elems); err != nil {
		return nil, err
	}
	known := make(map[common.Hash]bool, len(found))
	for hash, tx := range found {
		known[hash] = *tx != nil
	}
	return known, nil
}

func (r *receipt) status(head uint64) chain.Status {
	number := uint64(r.Number)
	price := new(big.Int)
	if r.Price != nil {
		price = r.Price.ToInt()
	}
	return chain.Status{
		State: chain.Mined, Head: head, Success: r.Status == 1, Block: number, Hash: r.Block.Hex(),
		Depth:   head - number + 1,
		GasUsed: uint64(r.GasUsed), Fee: new(big.Int).Mul(price, new(big.Int).SetUint64(uint64(r.GasUsed))),
	}
}

func parseHashes(hashes []string) ([]common.Hash, error) {
	parsed := make([]common.Hash, len(hashes))
	for i, text := range hashes {
		raw, err := hexutil.Decode(text)
		if err != nil || len(raw) != common.HashLength {
			return nil, problem.New(problem.Invalid, "hash-invalid", "%q is no transaction hash: 0x and 64 hex digits are expected", text)
		}
		parsed[i] = common.Hash(raw)
	}
	return parsed, nil
}

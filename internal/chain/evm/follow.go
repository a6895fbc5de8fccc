package evm

import (
	"context"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

var _ chain.Follower = (*Network)(nil)

// mined is what a node tells of how many transactions of addresses are mined.
type mined struct {
	nonces []uint64
	head   uint64 // not older than the nonces
}

// Nonces asks how many transactions of each address are mined. Of several nodes' answers the least counts: what all have mined;
// and the highest of their heads.
func (n *Network) Nonces(ctx context.Context, addresses []string) (nonces []uint64, head uint64, err error) {
	accounts := make([]common.Address, len(addresses))
	for i, address := range addresses {
		if accounts[i], err = parseAddress(address); err != nil {
			return nil, 0, err
		}
	}
	seen, err := several(ctx, n, func(ctx context.Context, e *endpoint) (mined, error) { return e.nonces(ctx, accounts) })
	if err != nil {
		return nil, 0, err
	}
	agreed := seen[0]
	for _, other := range seen[1:] {
		agreed.head = max(agreed.head, other.head)
		for i := range agreed.nonces {
			agreed.nonces[i] = min(agreed.nonces[i], other.nonces[i])
		}
	}
	return agreed.nonces, agreed.head, nil
}

func (e *endpoint) nonces(ctx context.Context, accounts []common.Address) (mined, error) {
	var head hexutil.Uint64
	nonces, elems := make([]hexutil.Uint64, len(accounts)), make([]rpc.BatchElem, 0, len(accounts)+1)
	for i, account := range accounts {
		elems = append(elems, request(&nonces[i], "eth_getTransactionCount", account, "latest"))
	}
	if err := e.read(ctx, append(elems, request(&head, "eth_blockNumber"))); err != nil { // last: not older than the nonces
		return mined{}, err
	}
	answer := mined{nonces: make([]uint64, len(nonces)), head: uint64(head)}
	for i, nonce := range nonces {
		answer.nonces[i] = uint64(nonce)
	}
	return answer, nil
}

// Height is the number of the newest, the safe or the finalised block: of several nodes' answers the least. A chain that has
// not finalised a block yet, or never does, answers chain-unsupported for it.
func (n *Network) Height(ctx context.Context, tag chain.Tag) (uint64, error) {
	if tag == chain.Latest {
		return n.Head(ctx)
	}
	seen, err := several(ctx, n, func(ctx context.Context, e *endpoint) (uint64, error) { return e.height(ctx, n.ID(), tag) })
	if err != nil {
		return 0, err
	}
	return slices.Min(seen), nil
}

func (e *endpoint) height(ctx context.Context, id string, tag chain.Tag) (uint64, error) {
	var block *newHead
	elems := []rpc.BatchElem{request(&block, "eth_getBlockByNumber", string(tag), false)}
	if err := e.batch(ctx, elems); err != nil {
		return 0, err
	}
	if class := classify(elems[0].Error); class == busy || class == limited {
		return 0, e.unanswered("the "+string(tag)+" block", elems[0].Error)
	}
	if elems[0].Error != nil || block == nil {
		return 0, problem.New(problem.Unprocessable, "chain-unsupported", "the node of %s knows no %s block: use finality: depth, or a node that does", id, tag)
	}
	return uint64(block.Number), nil
}

package evm

import (
	"context"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

var _ chain.Follower = (*Network)(nil)

// Nonces asks how many transactions of each address are mined.
func (n *Network) Nonces(ctx context.Context, addresses []string) ([]uint64, error) {
	nonces, elems := make([]hexutil.Uint64, len(addresses)), make([]rpc.BatchElem, len(addresses))
	for i, address := range addresses {
		account, err := parseAddress(address)
		if err != nil {
			return nil, err
		}
		elems[i] = request(&nonces[i], "eth_getTransactionCount", account, "latest")
	}
	if err := n.read(ctx, elems); err != nil {
		return nil, err
	}
	answer := make([]uint64, len(nonces))
	for i, nonce := range nonces {
		answer[i] = uint64(nonce)
	}
	return answer, nil
}

// Height is the number of the newest, the safe or the finalised block. A chain that has not finalised a block yet, or never
// does, answers chain-unsupported for it.
func (n *Network) Height(ctx context.Context, tag chain.Tag) (uint64, error) {
	if tag == chain.Latest {
		return n.Head(ctx)
	}
	var block *newHead
	elems := []rpc.BatchElem{request(&block, "eth_getBlockByNumber", string(tag), false)}
	if err := n.batch(ctx, elems); err != nil {
		return 0, err
	}
	if err := elems[0].Error; err != nil || block == nil {
		if err != nil && classify(err) == busy {
			return 0, n.unanswered("the "+string(tag)+" block", err)
		}
		return 0, problem.New(problem.Unprocessable, "chain-unsupported", "the node of %s knows no %s block: use finality: depth, or a node that does", n.ID(), tag)
	}
	return uint64(block.Number), nil
}

package evm

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Head is the number of the newest block.
func (n *Network) Head(ctx context.Context) (uint64, error) {
	var head hexutil.Uint64
	err := n.read(ctx, []rpc.BatchElem{request(&head, "eth_blockNumber")})
	return uint64(head), err
}

// Genesis is the hash of block 0, by which chains of one id are told apart.
func (n *Network) Genesis(ctx context.Context) (string, error) {
	var block struct {
		Hash common.Hash `json:"hash"`
	}
	err := n.read(ctx, []rpc.BatchElem{request(&block, "eth_getBlockByNumber", "0x0", false)})
	return block.Hash.Hex(), err
}

// Account reads an address's balance and nonces in one round trip. Of several nodes' answers the cautious one counts: what all
// of them have mined, what any of them has waiting, and the least coin.
func (n *Network) Account(ctx context.Context, address string) (chain.Account, error) {
	account, err := parseAddress(address)
	if err != nil {
		return chain.Account{}, err
	}
	seen, err := several(ctx, n, func(ctx context.Context, e *endpoint) (chain.Account, error) { return e.account(ctx, account) })
	if err != nil {
		return chain.Account{}, err
	}
	cautious := seen[0]
	for _, other := range seen[1:] {
		cautious.Nonce, cautious.Pending = min(cautious.Nonce, other.Nonce), max(cautious.Pending, other.Pending)
		if other.Balance.Cmp(cautious.Balance) < 0 {
			cautious.Balance = other.Balance
		}
	}
	return cautious, nil
}

func (e *endpoint) account(ctx context.Context, account common.Address) (chain.Account, error) {
	var balance hexutil.Big
	var nonce, pending hexutil.Uint64
	err := e.read(ctx, []rpc.BatchElem{
		request(&balance, "eth_getBalance", account, "latest"),
		request(&nonce, "eth_getTransactionCount", account, "latest"),
		request(&pending, "eth_getTransactionCount", account, "pending"),
	})
	return chain.Account{Balance: balance.ToInt(), Nonce: uint64(nonce), Pending: uint64(pending)}, err
}

// Token reads an ERC-20 balance; token-unknown when no contract answers at the address.
func (n *Network) Token(ctx context.Context, contract, address string) (*big.Int, error) {
	token, err := parseAddress(contract)
	if err != nil {
		return nil, err
	}
	holder, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	var answer hexutil.Bytes
	call := callArguments{To: &token, Data: append(selector("balanceOf(address)"), word(holder.Bytes())...)}
	elems := []rpc.BatchElem{request(&answer, "eth_call", call, "latest")}
	if err := n.batch(ctx, elems); err != nil {
		return nil, err
	}
	if err := elems[0].Error; err != nil {
		return nil, n.refusal(err, "reading the token balance of "+address)
	}
	if len(answer) != 32 {
		return nil, problem.New(problem.Unprocessable, "token-unknown",
			"%s on %s did not answer balanceOf: check that the token's contract is deployed on this chain", token.Hex(), n.ID())
	}
	return new(big.Int).SetBytes(answer), nil
}

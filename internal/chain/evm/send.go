package evm

import (
	"context"
	"encoding/json"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// Send broadcasts stored bytes in one round trip. An answer that leaves open whether the node has them, or that their nonce is
// used, can mean that these very bytes were mined or wait in the pool: a second round trip looks them up by hash, and only what
// the node does not know is refused (I5). That the sender cannot pay is believed only when the newest block says so too: a
// node's pool follows its head by a moment.
func (n *Network) Send(ctx context.Context, raw [][]byte) []error {
	errs := make([]error, len(raw))
	said, err := n.broadcast(ctx, raw)
	if err != nil {
		return fill(errs, err)
	}
	var doubtful, poor []int
	for i := range said {
		switch class := classify(said[i]); {
		case class == none || class == alreadyKnown:
		case class == insufficientFunds:
			poor = append(poor, i)
		case class.doubtful():
			doubtful = append(doubtful, i)
		default:
			errs[i] = n.refused(said[i], raw[i])
		}
	}
	n.settle(ctx, raw, said, doubtful, errs)
	n.insist(ctx, raw, said, poor, errs)
	return errs
}

// refused is the problem for a transaction that the node does not take. Fees are asked for again when they were too low.
func (n *Network) refused(said error, raw []byte) error {
	if classify(said) == underpriced {
		n.forgetFees()
	}
	return n.refusal(said, sending(raw))
}

// broadcast answers what the node says of each transaction.
func (n *Network) broadcast(ctx context.Context, raw [][]byte) ([]error, error) {
	elems := make([]rpc.BatchElem, len(raw))
	var ignored json.RawMessage // the hash is known without the node
	for i := range raw {
		elems[i] = request(&ignored, "eth_sendRawTransaction", hexutil.Bytes(raw[i]))
	}
	if err := n.batch(ctx, elems); err != nil {
		return nil, err
	}
	said := make([]error, len(raw))
	for i := range elems {
		said[i] = elems[i].Error
	}
	return said, nil
}

// settle decides about transactions of which the node's answer says too little: known by hash is sent.
func (n *Network) settle(ctx context.Context, raw [][]byte, said []error, doubtful []int, errs []error) {
	if len(doubtful) == 0 {
		return
	}
	hashes := make([]common.Hash, len(doubtful))
	for at, i := range doubtful {
		hashes[at] = crypto.Keccak256Hash(raw[i])
	}
	known, err := n.known(ctx, hashes)
	for at, i := range doubtful {
		switch {
		case err != nil:
			errs[i] = err
		case !known[at]:
			errs[i] = n.refusal(said[i], sending(raw[i]))
		}
	}
}

// known tells which transactions the node has, waiting or mined.
func (n *Network) known(ctx context.Context, hashes []common.Hash) ([]bool, error) {
	found := make([]*struct{}, len(hashes))
	elems := make([]rpc.BatchElem, len(hashes))
	for i, hash := range hashes {
		elems[i] = request(&found[i], "eth_getTransactionByHash", hash)
	}
	if err := n.read(ctx, elems); err != nil {
		return nil, err
	}
	known := make([]bool, len(hashes))
	for i := range found {
		known[i] = found[i] != nil
	}
	return known, nil
}

func sending(raw []byte) string { return "the transaction " + crypto.Keccak256Hash(raw).Hex() }

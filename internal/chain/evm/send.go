package evm

import (
	"context"
	"encoding/json"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// Send broadcasts stored bytes to all nodes at once, in one round trip each. An answer that leaves open whether a node has them,
// or that their nonce is used, can mean that these very bytes were mined or wait in a pool: a second round trip looks them up by
// hash, and only what no node knows is refused (I5). That the sender cannot pay is believed only when the newest block says so
// too: a node's pool follows its head by a moment.
func (n *Network) Send(ctx context.Context, raw [][]byte) []error {
	errs := make([]error, len(raw))
	if ctx.Err() != nil {
		return fill(errs, n.endpoints[0].unreachable(ctx.Err()))
	}
	said := n.broadcast(ctx, raw)
	var doubtful, poor []int
	for i := range said {
		switch class := classify(said[i].err); {
		case class == none || class == alreadyKnown:
		case class == insufficientFunds && !said[i].open:
			poor = append(poor, i)
		case class.doubtful() || said[i].open:
			doubtful = append(doubtful, i)
		default:
			errs[i] = n.refused(said[i].err, raw[i])
		}
	}
	n.settle(ctx, raw, said, doubtful, errs)
	n.insist(ctx, raw, said, poor, errs)
	return errs
}

// refused is the problem for a transaction that no node takes. Fees are asked for again when they were too low.
func (n *Network) refused(said error, raw []byte) error {
	if classify(said) == underpriced {
		n.forgetFees()
	}
	return n.refusal(said, sending(raw))
}

// verdict is what nodes say of a transaction: the most favourable answer, nil when one took it.
type verdict struct {
	err  error
	open bool // a node may have taken it without saying so
}

// favour is the order of answers; those that are not named come last but one.
var favour = map[class]int{
	none: 0, alreadyKnown: 1, nonceTooLow: 2, nonceTaken: 3, underpriced: 4, insufficientFunds: 5, poolFull: 6, accountFull: 6, nonceTooHigh: 6,
	limited: 9, unsupported: 9, pruned: 9, behind: 9, busy: 9, unreached: 9,
}

func rank(err error) int {
	if place, named := favour[classify(err)]; named {
		return place
	}
	return 8
}

// hear puts another node's answer beside what is known so far.
func (v verdict) hear(err error) verdict {
	now := classify(err)
	v.open = v.open || now == busy || now == unreached
	if rank(err) < rank(v.err) {
		v.err = err
	}
	return v
}

// broadcast gives the transactions to all nodes that may be asked. It waits until one has taken all of them, or until all have
// answered; what is still under way then goes on for as long as a round trip may take.
func (n *Network) broadcast(ctx context.Context, raw [][]byte) []verdict {
	nodes := n.reachable()
	replies := make(chan []error, len(nodes))
	for _, e := range nodes {
		if !n.spawn(func(life context.Context) { replies <- e.send(life, raw) }) {
			replies <- all(len(raw), e.unreachable(context.Canceled))
		}
	}
	said := make([]verdict, len(raw))
	for heard := range nodes {
		var reply []error
		select {
		case reply = <-replies:
		case <-ctx.Done():
			reply = all(len(raw), nodes[heard].unreachable(ctx.Err()))
		}
		taken := true
		for i := range said {
			if heard == 0 {
				said[i].err = reply[i] // the first answer is the best so far
			}
			said[i] = said[i].hear(reply[i])
			taken = taken && rank(said[i].err) <= favour[alreadyKnown]
		}
		if taken {
			break
		}
	}
	return said
}

// reachable is the nodes that may be asked, whether level with the others or not; all of them when none may: each says why.
func (n *Network) reachable() []*endpoint {
	var nodes []*endpoint
	for _, e := range n.endpoints {
		if !e.breaker.IsOpen() {
			nodes = append(nodes, e)
		}
	}
	if len(nodes) == 0 {
		return n.endpoints
	}
	return nodes
}

// send is what this node says of each transaction.
func (e *endpoint) send(ctx context.Context, raw [][]byte) []error {
	elems := make([]rpc.BatchElem, len(raw))
	for i := range raw {
		elems[i] = request(new(json.RawMessage), "eth_sendRawTransaction", hexutil.Bytes(raw[i])) // the hash is known without the node
	}
	if err := e.batch(ctx, elems); err != nil {
		return all(len(raw), err) // an earlier part may have been taken: it is looked up
	}
	said := make([]error, len(raw))
	for i := range elems {
		said[i] = elems[i].Error
	}
	return said
}

func all(n int, err error) []error { return fill(make([]error, n), err) }

// settle decides about transactions of which the answers say too little: known by hash is sent.
func (n *Network) settle(ctx context.Context, raw [][]byte, said []verdict, doubtful []int, errs []error) {
	if len(doubtful) == 0 {
		return
	}
	hashes := make([]common.Hash, len(doubtful))
	for at, i := range doubtful {
		hashes[at] = crypto.Keccak256Hash(raw[i])
	}
	known, silent := n.known(ctx, hashes)
	for at, i := range doubtful {
		switch {
		case known[at]:
		case silent != nil:
			errs[i] = silent
		default:
			errs[i] = n.refused(said[i].err, raw[i])
		}
	}
}

// known tells which transactions any node has, waiting or mined. silent is the problem of a node that may be asked and did not
// answer: what is not known then can be there all the same.
func (n *Network) known(ctx context.Context, hashes []common.Hash) (known []bool, silent error) {
	type reply struct {
		known []bool
		err   error
	}
	nodes := n.reachable()
	replies := make(chan reply, len(nodes))
	for _, e := range nodes {
		go func() {
			known, err := e.has(ctx, hashes)
			replies <- reply{known, err}
		}()
	}
	known = make([]bool, len(hashes))
	for range nodes {
		r := <-replies
		if r.err != nil {
			silent = r.err
			continue
		}
		for i := range known {
			known[i] = known[i] || r.known[i]
		}
	}
	return known, silent
}

// has tells which transactions this node has.
func (e *endpoint) has(ctx context.Context, hashes []common.Hash) ([]bool, error) {
	found := make([]*struct{}, len(hashes))
	elems := make([]rpc.BatchElem, len(hashes))
	for i, hash := range hashes {
		elems[i] = request(&found[i], "eth_getTransactionByHash", hash)
	}
	if err := e.read(ctx, elems); err != nil {
		return nil, err
	}
	known := make([]bool, len(hashes))
	for i := range found {
		known[i] = found[i] != nil
	}
	return known, nil
}

func sending(raw []byte) string { return "the transaction " + crypto.Keccak256Hash(raw).Hex() }

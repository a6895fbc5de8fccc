package evm

import (
	"context"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/problem"
)

// insist decides about transactions of which the node says that the sender cannot pay. Where the newest block shows enough
// coin they are sent again, a few times; after that the coin may be spoken for by others that wait: try later.
func (n *Network) insist(ctx context.Context, raw [][]byte, said []verdict, poor []int, errs []error) {
	for _, pause := range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 160 * time.Millisecond} {
		if poor = n.payable(ctx, raw, said, poor, errs); len(poor) == 0 {
			return
		}
		_ = lifecycle.Sleep(ctx, pause)
		poor = n.again(ctx, raw, said, poor, errs)
	}
	for _, i := range n.payable(ctx, raw, said, poor, errs) {
		errs[i] = caused(said[i].err, problem.Unavailable, "chain-busy",
			"%s is not accepted by the node of %s, although the sender has the coin: others of its transactions wait; try again when they are mined (the node says: %s)",
			sending(raw[i]), n.ID(), shortened(said[i].err.Error()))
	}
}

// payable keeps the transactions that the newest block's balance pays for, and refuses the others.
func (n *Network) payable(ctx context.Context, raw [][]byte, said []verdict, poor []int, errs []error) (rest []int) {
	if len(poor) == 0 {
		return nil
	}
	balances, costs := make([]hexutil.Big, len(poor)), make([]*big.Int, len(poor))
	elems := make([]rpc.BatchElem, 0, len(poor))
	for at, i := range poor {
		tx, err := n.codec.Decode(raw[i])
		if err != nil { // not Aval's: what the node says stands
			errs[i] = n.refusal(said[i].err, sending(raw[i]))
			continue
		}
		costs[at] = new(big.Int).Mul(tx.Tx.Fee, new(big.Int).SetUint64(tx.Tx.Gas))
		costs[at].Add(costs[at], tx.Tx.Value)
		elems = append(elems, request(&balances[at], "eth_getBalance", tx.Tx.From, "latest"))
	}
	err := n.read(ctx, elems)
	for at, i := range poor {
		switch {
		case costs[at] == nil:
		case err != nil:
			errs[i] = err
		case balances[at].ToInt().Cmp(costs[at]) < 0:
			errs[i] = n.refusal(said[i].err, sending(raw[i]))
		default:
			rest = append(rest, i)
		}
	}
	return rest
}

// again sends once more and answers which the node still says cannot be paid.
func (n *Network) again(ctx context.Context, raw [][]byte, said []verdict, poor []int, errs []error) (rest []int) {
	part := make([][]byte, len(poor))
	for at, i := range poor {
		part[at] = raw[i]
	}
	now := n.broadcast(ctx, part)
	for at, i := range poor {
		switch class := classify(now[at].err); {
		case class == none || class == alreadyKnown:
		case class == insufficientFunds && !now[at].open:
			said[i], rest = now[at], append(rest, i)
		case class.doubtful() || now[at].open: // maybe these bytes, by another way
			said[i] = now[at]
			n.settle(ctx, raw, said, []int{i}, errs)
		default:
			errs[i] = n.refused(now[at].err, raw[i])
		}
	}
	return rest
}

package evm

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// coin is what the senders of calls have at the newest block. It is asked for beside the estimates, because not every node's
// estimate looks at it: anvil's gives the gas of a plain transfer whether or not it can be paid.
type coin struct {
	requests []rpc.BatchElem
	at       map[string]int // sender to its place in requests
	balances []hexutil.Big
}

// newCoin prepares a request for each sender whose call is in order: errs is nil there.
func newCoin(calls []chain.Call, errs []error) *coin {
	c := &coin{at: make(map[string]int), balances: make([]hexutil.Big, len(calls))}
	for i, call := range calls {
		sender := canonical(call.From)
		if _, asked := c.at[sender]; asked || errs[i] != nil {
			continue
		}
		place := len(c.requests)
		c.at[sender], c.requests = place, append(c.requests, request(&c.balances[place], "eth_getBalance", sender, "latest"))
	}
	return c
}

// affordable refuses a transaction that its sender cannot pay, before a nonce is spent for it. A balance that the node did not
// tell decides nothing: its pool will.
func (n *Network) affordable(tx chain.Unsigned, c *coin) error {
	has, told := c.of(tx.From)
	cost := new(big.Int).Mul(tx.Fee, new(big.Int).SetUint64(tx.Gas))
	cost.Add(cost, tx.Value)
	if told && has.Cmp(cost) < 0 {
		return problem.New(problem.Unprocessable, "insufficient-funds",
			"the call from %s to %s cannot be paid on %s: value and gas may cost %s wei and the sender has %s; fund it, then try again", tx.From, tx.To, n.ID(), cost, has)
	}
	return nil
}

// of is what a sender has, when the node told.
func (c *coin) of(sender string) (wei *big.Int, told bool) {
	place, asked := c.at[sender]
	if !asked {
		return nil, false
	}
	return c.balances[place].ToInt(), c.requests[place].Error == nil
}

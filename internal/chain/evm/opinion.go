package evm

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// opinion is what one node says of calls at its newest block: what gas each needs, or why it fails, and what coin the senders have.
// The coin is asked for beside the estimates, because not every node's estimate looks at it: anvil's gives the gas of a plain
// transfer whether or not it can be paid.
type opinion struct {
	gas  []hexutil.Uint64
	errs []error             // of the calls; what was not asked has its error already
	coin map[string]*big.Int // by sender; what the node did not tell is not there

	bare   map[string]bool  // called addresses at which there is no code
	silent map[string]error // and those of which the node does not tell, and never has: why
	untrue map[int]bool     // calls: transfers of tokens that answer false
}

// estimate asks this node for its opinion of the calls that are in order: errs is nil there.
func (e *endpoint) estimate(ctx context.Context, calls []chain.Call, args []callArguments, errs []error) (*opinion, error) {
	o := &opinion{gas: make([]hexutil.Uint64, len(calls)), errs: slices.Clone(errs), coin: map[string]*big.Int{}, bare: map[string]bool{}, silent: map[string]error{}, untrue: map[int]bool{}}
	var elems []rpc.BatchElem
	var which []int
	var senders []string
	for i, call := range calls {
		if errs[i] != nil {
			continue
		}
		elems, which = append(elems, request(&o.gas[i], "eth_estimateGas", args[i], "latest")), append(which, i)
		if sender := canonical(call.From); !slices.Contains(senders, sender) {
			senders = append(senders, sender)
		}
	}
	balances := make([]hexutil.Big, len(senders))
	for at, sender := range senders {
		elems = append(elems, request(&balances[at], "eth_getBalance", sender, "latest"))
	}
	d, more := e.suspect(calls, args, errs)
	asked := len(elems)
	elems = append(elems, more...)
	if err := e.batch(ctx, elems); err != nil {
		return nil, err
	}
	told := false
	for at, i := range which {
		o.errs[i] = elems[at].Error
		told = told || !classify(elems[at].Error).elsewhere()
	}
	if !told {
		return nil, e.unanswered(elems[0].Method, elems[0].Error)
	}
	for at, sender := range senders {
		if elems[len(which)+at].Error == nil {
			o.coin[sender] = balances[at].ToInt()
		}
	}
	e.judge(d, elems[asked:], o)
	return o, nil
}

// agreedGas is what gas a call needs. Of three nodes the middle one counts; of two the one that says more, as long as a block has so much:
// what is too much is not paid, what is too little is paid for nothing. A call is refused when more of them refuse it than not.
func (n *Network) agreedGas(call chain.Call, i int, told []*opinion, blockLimit uint64) (uint64, error) {
	var gas []uint64
	var refused []error
	unanswered := error(nil)
	for _, o := range told {
		switch err := o.errs[i]; {
		case err == nil:
			gas = append(gas, uint64(o.gas[i]))
		case classify(err).elsewhere():
			unanswered = err
		default:
			refused = append(refused, err)
		}
	}
	what := fmt.Sprintf("the call from %s to %s", call.From, call.To)
	switch {
	case len(refused) > len(gas):
		return 0, n.refusal(refused[0], what)
	case len(gas) == 0:
		return 0, n.refusal(unanswered, what)
	}
	slices.Sort(gas)
	at := len(gas) / 2
	for at > 0 && blockLimit > 0 && gas[at] > blockLimit {
		at--
	}
	return gas[at], nil
}

// affordable refuses a transaction that its sender cannot pay, before a nonce is spent for it, when more nodes say so than not. A
// balance that no node told decides nothing: the pool will.
func (n *Network) affordable(tx chain.Unsigned, told []*opinion) error {
	cost := new(big.Int).Mul(tx.Fee, new(big.Int).SetUint64(tx.Gas))
	cost.Add(cost, tx.Value)
	against := 0
	var most *big.Int
	for _, o := range told {
		has := o.coin[tx.From]
		switch {
		case has == nil:
			continue
		case has.Cmp(cost) < 0:
			against++
		default:
			against--
		}
		if most == nil || has.Cmp(most) > 0 {
			most = has
		}
	}
	if against <= 0 {
		return nil
	}
	return problem.New(problem.Unprocessable, "insufficient-funds",
		"the call from %s to %s cannot be paid on %s: value and gas may cost %s wei and the sender has %s; fund it, then try again", tx.From, tx.To, n.ID(), cost, most)
}

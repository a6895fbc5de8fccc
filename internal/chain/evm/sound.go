package evm

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// contractsKept is of how many addresses a node's word that they have code is kept: code stays where it is.
const contractsKept = 1024

// doubts are the questions whether calls with data would do anything: a call of an address without code is mined as done and does
// nothing, and some tokens answer false to a transfer instead of reverting.
type doubts struct {
	called  []string // addresses
	codes   []hexutil.Bytes
	moves   []int // calls that transfer tokens
	answers []hexutil.Bytes
}

// suspect lists the questions about the calls that are in order.
func (e *endpoint) suspect(calls []chain.Call, args []callArguments, errs []error) (d doubts, elems []rpc.BatchElem) {
	for i, call := range calls {
		if errs[i] != nil || len(call.Data) == 0 {
			continue
		}
		if to := canonical(call.To); !e.contracts.Contains(to) && !slices.Contains(d.called, to) {
			d.called = append(d.called, to)
		}
		if bytes.HasPrefix(call.Data, selector("transfer(address,uint256)")) {
			d.moves = append(d.moves, i)
		}
	}
	d.codes, d.answers = make([]hexutil.Bytes, len(d.called)), make([]hexutil.Bytes, len(d.moves))
	for k, to := range d.called {
		elems = append(elems, request(&d.codes[k], "eth_getCode", to, "latest"))
	}
	for k, i := range d.moves {
		elems = append(elems, request(&d.answers[k], "eth_call", args[i], "latest"))
	}
	return d, elems
}

// judge takes over what the node has answered; what it did not answer raises no doubt.
func (e *endpoint) judge(d doubts, elems []rpc.BatchElem, o *opinion) {
	for k, to := range d.called {
		switch {
		case elems[k].Error != nil:
		case len(d.codes[k]) == 0:
			o.bare[to] = true
		default:
			e.contracts.Add(to, struct{}{})
		}
	}
	no := make([]byte, 32)
	for k, i := range d.moves {
		o.untrue[i] = elems[len(d.called)+k].Error == nil && bytes.Equal(d.answers[k], no)
	}
}

// sound refuses a call that would count as done and do nothing, when more nodes say so than not.
func (n *Network) sound(call chain.Call, i int, told []*opinion) error {
	to := canonical(call.To)
	bare, untrue := 0, 0
	for _, o := range told {
		if len(call.Data) > 0 && o.bare[to] {
			bare++
		}
		if o.untrue[i] {
			untrue++
		}
	}
	switch {
	case 2*bare > len(told):
		return problem.New(problem.Unprocessable, "address-invalid", "there is no contract at %s on %s: the call would do nothing and count as done; check the address", to, n.ID())
	case 2*untrue > len(told):
		return problem.New(problem.Unprocessable, "execution-reverted", "the token %s answers the transfer from %s with false: nothing would move", to, call.From)
	}
	return nil
}

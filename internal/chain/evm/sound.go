package evm

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/common"
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

// needsCode says whether a call would do nothing, or not what it declares, where no contract is. Data beside value that declares nothing
// may be a note to whoever is paid.
func needsCode(call chain.Call) bool {
	return len(call.Data) > 0 && !precompiled(call.To) && (call.Declared || orZero(call.Value).Sign() == 0)
}

// precompiled says whether the chain itself answers at an address, without code: 0x01 to 0x11 (EIP-2537) and 0x100 (EIP-7951).
func precompiled(to string) bool {
	number := common.HexToAddress(to).Big()
	return number.IsUint64() && (number.Uint64() <= 0x11 || number.Uint64() == 0x100)
}

// suspect lists the questions about the calls that are in order.
func (e *endpoint) suspect(calls []chain.Call, args []callArguments, errs []error) (d doubts, elems []rpc.BatchElem) {
	for i, call := range calls {
		if errs[i] != nil || len(call.Data) == 0 {
			continue
		}
		if to := canonical(call.To); needsCode(call) && !e.contracts.Contains(to) && !slices.Contains(d.called, to) {
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

// judge takes over what the node has answered. That it does not run a transfer raises no doubt: the estimate has.
func (e *endpoint) judge(d doubts, elems []rpc.BatchElem, o *opinion) {
	for k, to := range d.called {
		switch {
		case elems[k].Error != nil:
			o.silent[to] = elems[k].Error
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

// sound refuses a call that would count as done and do nothing, when more nodes say so than not. A node that is late has no code of a
// new contract: whoever asks looks again before it believes that there is none.
func (n *Network) sound(call chain.Call, i int, told []*opinion) error {
	if needsCode(call) {
		if err := n.inhabited(canonical(call.To), told); err != nil {
			return err
		}
	}
	untrue := 0
	for _, o := range told {
		if o.untrue[i] {
			untrue++
		}
	}
	if 2*untrue > len(told) {
		return problem.New(problem.Unprocessable, "execution-reverted", "the token %s answers the transfer from %s with false: nothing would move", canonical(call.To), call.From)
	}
	return nil
}

// inhabited says whether there is code at an address; nobody's answer is no answer.
func (n *Network) inhabited(to string, told []*opinion) error {
	bare, there := 0, 0
	silent := error(nil)
	for _, o := range told {
		switch {
		case o.silent[to] != nil:
			silent = o.silent[to]
		case o.bare[to]:
			bare++
		default:
			there++
		}
	}
	switch {
	case bare > there:
		return problem.New(problem.Unprocessable, "address-invalid", "there is no contract at %s on %s: the call would count as done, and do nothing but move its value, if any; check the address", to, n.ID())
	case bare+there == 0:
		return n.unanswered("whether there is a contract at "+to, silent)
	}
	return nil
}

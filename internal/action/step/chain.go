package step

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/wallet"
)

// Chain is one chain that this installation serves.
type Chain struct {
	Network  chain.Network
	Codec    chain.Codec
	Replayer chain.Replayer    // asked why a transaction has failed
	Fees     chain.FeePolicies // what transactions may cost
	Lanes    Lanes
	Bound    map[string]calldata.Contract // contracts whose ABI is known, by address: other calls of them are refused (A12)
}

// fits says whether a call is one that the ABI of its contract knows, where there is one: policy-denied otherwise.
func (c Chain) fits(call chain.Call, declared string) error {
	to, err := c.Codec.Address(call.To)
	if err != nil {
		return err
	}
	contract, known := c.Bound[to]
	if !known {
		return nil
	}
	if err := contract.Check(call.Data, declared); err != nil {
		return problem.New(problem.Forbidden, "policy-denied", "the ABI that is kept for the contract %s (chain.abis) denies this call: %w", call.To, err)
	}
	return nil
}

// binds says whether an ABI is kept for an address.
func (c Chain) binds(to string) bool {
	address, err := c.Codec.Address(to)
	_, known := c.Bound[address]
	return err == nil && known
}

// judged is a transaction as the policy sees it, with what it calls by the ABI of its contract, where there is one.
func (c Chain) judged(tx chain.Unsigned) *policy.Transaction {
	call, _ := c.Bound[tx.To].Read(tx.Data) // what cannot be read was refused, or is nobody's contract
	return &policy.Transaction{To: tx.To, Value: tx.Value, Data: tx.Data, Gas: tx.Gas, Fee: tx.Fee, Calls: call.Function}
}

// Chains are the chains served, by CAIP-2 id.
type Chains map[string]Chain

// Get finds a chain.
func (c Chains) Get(id string) (Chain, error) {
	found, ok := c[id]
	if !ok {
		return Chain{}, problem.New(problem.Invalid, "chain-unknown", "this installation does not serve the chain %q", id)
	}
	return found, nil
}

// Wallets finds a wallet.
type Wallets interface {
	Get(ctx context.Context, id string) (wallet.Wallet, error)
}

// Clients finds a client.
type Clients interface {
	Get(ctx context.Context, id string) (clients.Client, error)
}

// Decisions finds what was decided to be signed.
type Decisions interface {
	Find(ctx context.Context, steps []signer.Step) (map[signer.Step]signer.Decision, error)
}

// reference is what sign answers and later steps are given: where to find the decision, and what people look for.
type reference struct {
	State string `json:"state"` // the state that signed
	Chain string `json:"chain"`
	From  string `json:"from"`
	Nonce uint64 `json:"nonce"`
	Hash  string `json:"hash"`
}

// order is the part of a message's body that moves something on a chain.
type order struct {
	Wallet string `json:"wallet"`
	To     string `json:"to"`
	Asset  string `json:"asset"`    // transfer: "native" or "erc20:" and the contract's address
	Amount string `json:"amount"`   // transfer: in the smallest unit
	Value  string `json:"value"`    // call: native coin sent with it
	Data   string `json:"data"`     // call: 0x and hex
	Calls  string `json:"function"` // call: what the data is declared to call; "" declares nothing
}

func readOrder(task Task) (order, error) {
	var o order
	if err := json.Unmarshal(task.Record.Body, &o); err != nil {
		return o, problem.New(problem.Invalid, "message-invalid", "the body of the message is not an order: %w", err)
	}
	return o, nil
}

// call turns an order into what the wallet's transaction should do.
func (o order) call(codec chain.Codec, from string) (chain.Call, error) {
	switch {
	case o.Asset == "native":
		value, err := amount(o.Amount)
		return chain.Call{From: from, To: o.To, Value: value}, err
	case strings.HasPrefix(o.Asset, "erc20:"):
		value, err := amount(o.Amount)
		if err != nil {
			return chain.Call{}, err
		}
		data, err := codec.TransferToken(o.To, value)
		return chain.Call{From: from, To: strings.TrimPrefix(o.Asset, "erc20:"), Data: data}, err
	case o.Asset != "":
		return chain.Call{}, problem.New(problem.Invalid, "message-invalid", "the asset is neither native nor erc20:<contract>")
	}
	return o.contractCall(from)
}

func (o order) contractCall(from string) (chain.Call, error) {
	value, err := amount(o.Value)
	if err != nil {
		return chain.Call{}, err
	}
	var data hexBytes
	if err := data.UnmarshalText([]byte(o.Data)); err != nil {
		return chain.Call{}, err
	}
	return chain.Call{From: from, To: o.To, Value: value, Data: data}, nil
}

func amount(s string) (*big.Int, error) {
	if s == "" {
		return new(big.Int), nil
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 256 {
		return nil, problem.New(problem.Invalid, "message-invalid", "an amount is not a whole number of the smallest unit that fits 256 bits")
	}
	return n, nil
}

// byChain groups some of the tasks by the chain of their messages.
func byChain(tasks []Task, which []int) map[string][]int {
	groups := map[string][]int{}
	for _, i := range which {
		groups[tasks[i].Record.Chain] = append(groups[tasks[i].Record.Chain], i)
	}
	return groups
}

func failAll(out []Outcome, which []int, err error) {
	for _, i := range which {
		out[i].Err = err
	}
}

// sent reads the transaction that a task's Arguments name.
func sent(task Task) (reference, error) {
	var args struct {
		Transaction reference `json:"transaction"`
	}
	if err := json.Unmarshal(task.Arguments, &args); err != nil || args.Transaction.Hash == "" {
		return reference{}, problem.New(problem.Internal, "arguments-invalid", "the state %s needs Arguments with the transaction that sign answered", task.State)
	}
	return args.Transaction, nil
}

func (t reference) step(task Task) signer.Step {
	return signer.Step{Message: task.Record.ID, State: t.State}
}

func (t reference) String() string { return fmt.Sprintf("%s, nonce %d", t.Hash, t.Nonce) }

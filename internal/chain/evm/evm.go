// Package evm is the chain port for Ethereum and the chains that speak its JSON-RPC.
//
// A Network is one node or several of the same chain, each over HTTP, WebSocket or IPC. Every batch is one JSON-RPC round trip,
// two where the first raises a question (Status, and Send when an answer leaves it open whether the node has a transaction). The
// first contact with a node, and the first after a failure, checks that it serves the expected chain, by id and first block.
// Endpoints can hold credentials: errors name scheme and host alone.
//
// With several nodes, reads go to the first in order that is well: it answers, is not asked too often, and is level with the
// others; what one cannot answer the next is asked. What decides about money is read from a Quorum: a transaction is mined when
// all of them say so, as deep as the least of them says. Transactions are sent to all. Nobody waits for a slow node longer
// than Timeout, nor at all where another has answered.
//
// A Codec is the format of transactions: EIP-1559, or type 0 on chains without base fee, always with a chain id, low-s
// signatures. It needs no node.
//
// What nodes answer in words is interpreted in errors.go and nowhere else. Nonces, keys and retries are not decided here.
package evm

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Config says which nodes serve the chain and how fees are chosen.
type Config struct {
	// URLs are the nodes' endpoints, the preferred first: http, https, ws or wss, or the path of an IPC socket. They may hold
	// credentials.
	URLs []string
	// Quorum is how many nodes have to agree on what is mined and on how many transactions an address has sent; 0 means 1.
	Quorum int
	// MaxLag is how many blocks a node may be behind the others and still be asked; 0 means 3.
	MaxLag uint64
	// Observe is told of each round trip: with which node, how it went ("" when it was answered, otherwise what was wrong in
	// one of a few words) and how long it took. It may be nil, and is called concurrently.
	Observe func(endpoint, outcome string, took time.Duration)
	// ChainID is the EIP-155 chain id that the node must serve; 0 lets Dial take the node's.
	ChainID uint64
	// Timeout of one round trip; 0 means 10 s.
	Timeout time.Duration
	// MaxBatch is the most requests in a round trip; 0 means 500. Hosted nodes allow between 100 and 1000.
	MaxBatch int
	// MaxBytes is about the most bytes in a round trip; 0 means 500,000. geth takes 5 MB.
	MaxBytes int
	// FeeKind is how transactions are priced; "" means FeeAuto.
	FeeKind FeeKind
	// FeeBlocks is from how many of the newest blocks the tips are taken; 0 means 20.
	FeeBlocks uint64
	// Headroom is how often the base fee may double before a transaction is too cheap; 0 means once, which outlasts five
	// full blocks; each more outlasts six. What is not needed is not paid, but the sender must have it.
	Headroom uint
	// MinTip is the least tip, on a chain without base fee the least gas price; nil means none.
	MinTip *big.Int
	// FeeAge is how long fees are kept before they are asked for again; 0 means 2 s.
	FeeAge time.Duration
	// GasMargin is what Build adds to the estimate of a contract call, in percent; 0 means 20.
	GasMargin uint64
	// Errors are custom errors of contracts, by which reverts are explained; see DeclaredErrors. Widespread ones are known.
	Errors []abi.Error
	// Poll is how often Heads asks over HTTP, and as a net under a subscription; 0 means 1 s.
	Poll time.Duration
}

func (c Config) withDefaults() Config {
	c.Timeout = orDefault(c.Timeout, 10*time.Second)
	c.MaxBatch = orDefault(c.MaxBatch, 500)
	c.MaxBytes = orDefault(c.MaxBytes, 500_000)
	c.Quorum = orDefault(c.Quorum, 1)
	c.MaxLag = orDefault(c.MaxLag, 3)
	c.FeeKind = orDefault(c.FeeKind, FeeAuto)
	c.FeeBlocks = orDefault(c.FeeBlocks, 20)
	c.Headroom = orDefault(c.Headroom, 1)
	c.FeeAge = orDefault(c.FeeAge, 2*time.Second)
	c.GasMargin = orDefault(c.GasMargin, 20)
	c.Poll = orDefault(c.Poll, time.Second)
	return c
}

func orDefault[T comparable](value, otherwise T) T {
	var unset T
	if value == unset {
		return otherwise
	}
	return value
}

// Network is a chain behind one node or several. It is safe for concurrent use.
type Network struct {
	config    Config
	identity  *identity
	endpoints []*endpoint // in the order of preference
	codec     *Codec
	fees      fees
	errors    vocabulary

	life     context.Context // ends with Close
	end      context.CancelFunc
	gate     sync.RWMutex   // held to begin something, and to end all
	under    sync.WaitGroup // what goes on beside the calls
	watching sync.Once
	viewers  viewers
}

var _ chain.Network = (*Network)(nil)

// Dial makes a Network and contacts all its nodes, each for itself: chain-unreachable when none answers, chain-mismatch when
// one serves another chain.
func Dial(ctx context.Context, config Config) (*Network, error) {
	n, err := newNetwork(config)
	if err != nil {
		return nil, err
	}
	if err := n.contact(ctx); err != nil {
		n.Close()
		return nil, err
	}
	n.begin()
	return n, nil
}

func newNetwork(config Config) (*Network, error) {
	n := &Network{config: config.withDefaults(), identity: &identity{alone: len(config.URLs) == 1}}
	if config.ChainID != 0 {
		n.identity.codec = NewCodec(config.ChainID)
	}
	var err error
	if n.errors, err = newVocabulary(config.Errors); err != nil {
		return nil, err
	}
	if len(config.URLs) == 0 {
		config.URLs = []string{""}
	}
	if n.config.Quorum > len(config.URLs) {
		return nil, problem.New(problem.Invalid, "config-invalid", "%d endpoints cannot give a quorum of %d: name more of them, or ask for less", len(config.URLs), n.config.Quorum)
	}
	seen := make(map[string]int)
	for _, address := range config.URLs {
		name, err := display(address)
		if err != nil {
			return nil, err
		}
		if seen[name]++; seen[name] > 1 { // two accounts with one provider
			name = fmt.Sprintf("%s#%d", name, seen[name])
		}
		n.endpoints = append(n.endpoints, newEndpoint(&n.config, address, name, n.identity))
	}
	n.life, n.end = context.WithCancel(context.Background())
	return n, nil
}

// contact makes the first contact with all nodes at once. One that does not answer is asked again later; one of another chain
// is a mistake to be told now.
func (n *Network) contact(ctx context.Context) error {
	errs := make([]error, len(n.endpoints))
	var all sync.WaitGroup
	for i, e := range n.endpoints {
		all.Go(func() { _, errs[i] = e.connect(ctx) })
	}
	all.Wait()
	if at := slices.IndexFunc(errs, isMismatch); at >= 0 {
		return errs[at]
	}
	if slices.Contains(errs, nil) {
		return nil
	}
	return n.none(errs)
}

// begin starts what goes on beside the calls, when the chain is known.
func (n *Network) begin() {
	n.codec = n.identity.codec
	if len(n.endpoints) > 1 {
		n.watch()
	}
}

// ID is the chain's CAIP-2 id.
func (n *Network) ID() string { return n.codec.ID() }

// Codec is the format of this chain's transactions.
func (n *Network) Codec() *Codec { return n.codec }

// Close ends the connections, and waits for what goes on beside the calls.
func (n *Network) Close() {
	n.gate.Lock()
	n.end()
	n.gate.Unlock()
	for _, e := range n.endpoints {
		e.close()
	}
	n.under.Wait()
}

// spawn does something beside the calls, until Close; after it nothing, and it says so.
func (n *Network) spawn(do func(life context.Context)) bool {
	n.gate.RLock()
	defer n.gate.RUnlock()
	if n.life.Err() != nil {
		return false
	}
	n.under.Go(func() { do(n.life) })
	return true
}

// names are the endpoints as they may be shown.
func (n *Network) names() string {
	names := make([]string, len(n.endpoints))
	for i, e := range n.endpoints {
		names[i] = e.name
	}
	return strings.Join(names, ", ")
}

func request(result any, method string, args ...any) rpc.BatchElem {
	return rpc.BatchElem{Method: method, Args: args, Result: result}
}

func caip(chainID uint64) string { return fmt.Sprintf("eip155:%d", chainID) }

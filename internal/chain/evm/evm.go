// Package evm is the chain port for Ethereum and the chains that speak its JSON-RPC.
//
// A Network is a node: HTTP, WebSocket or IPC. Every batch is one JSON-RPC round trip, two where the first raises a question
// (Status, and Send when the node says that a nonce was used). The first contact, and the first after a failure, checks that
// the node serves the expected chain. Endpoints can hold credentials: errors name scheme and host alone.
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
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Config says which node serves the chain and how fees are chosen.
type Config struct {
	// URL is the node's endpoint: http, https, ws or wss, or the path of an IPC socket. It may hold credentials.
	URL string
	// ChainID is the EIP-155 chain id that the node must serve; 0 lets Dial take the node's.
	ChainID uint64
	// Timeout of one round trip; 0 means 10 s.
	Timeout time.Duration
	// MaxBatch is the most requests in a round trip; 0 means 500. Hosted nodes allow between 100 and 1000.
	MaxBatch int
	// FeeKind is how transactions are priced; "" means FeeAuto.
	FeeKind FeeKind
	// FeeBlocks is from how many of the newest blocks the tips are taken; 0 means 20.
	FeeBlocks uint64
	// Headroom is how often the base fee may double before a transaction is too cheap; 0 means once. Each doubling outlasts
	// six full blocks. What is not needed is not paid, but the sender must have it.
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

// Network is a chain behind a node. It is safe for concurrent use.
type Network struct {
	config   Config
	endpoint string // what errors may show of the URL
	codec    *Codec
	contact  chan *contact // holds the one contact: taken while it is made
	fees     fees
	errors   vocabulary
}

var _ chain.Network = (*Network)(nil)

// contact is the connection and whether the node's chain id was checked since the last failure.
type contact struct {
	client  *rpc.Client
	checked bool
}

// Open makes a Network without contact: the first call makes it. The chain id has to be given.
func Open(config Config) (*Network, error) {
	if config.ChainID == 0 {
		return nil, problem.New(problem.Invalid, "config-invalid", "a chain needs its EIP-155 chain id (1 for Ethereum, 1337 for a development chain); 0 is none")
	}
	n, err := newNetwork(config)
	if err != nil {
		return nil, err
	}
	n.codec = NewCodec(config.ChainID)
	return n, nil
}

// Dial makes a Network and contacts the node: chain-unreachable when it does not answer, chain-mismatch when it serves
// another chain.
func Dial(ctx context.Context, config Config) (*Network, error) {
	n, err := newNetwork(config)
	if err != nil {
		return nil, err
	}
	if config.ChainID != 0 {
		n.codec = NewCodec(config.ChainID)
	}
	if _, err := n.connect(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func newNetwork(config Config) (*Network, error) {
	endpoint, err := display(config.URL)
	if err != nil {
		return nil, err
	}
	known, err := newVocabulary(config.Errors)
	if err != nil {
		return nil, err
	}
	n := &Network{config: config.withDefaults(), endpoint: endpoint, contact: make(chan *contact, 1), errors: known}
	n.contact <- &contact{}
	return n, nil
}

// display is the part of an endpoint that may be shown: user, path and query can hold credentials.
func display(endpoint string) (string, error) {
	if scheme, _, ok := strings.Cut(endpoint, "://"); ok {
		parsed, err := url.Parse(endpoint)
		switch {
		case err != nil || parsed.Host == "": // err would show the whole URL
			return "", problem.New(problem.Invalid, "config-invalid", "the chain's %s endpoint is no valid URL", scheme)
		case scheme != "http" && scheme != "https" && scheme != "ws" && scheme != "wss":
			return "", problem.New(problem.Invalid, "config-invalid", "the chain's endpoint begins with %q: http, https, ws, wss or the path of an IPC socket are known", scheme)
		}
		return scheme + "://" + parsed.Host, nil
	}
	if endpoint == "" {
		return "", problem.New(problem.Invalid, "config-invalid", "the chain has no endpoint: give a URL (http, https, ws, wss) or the path of an IPC socket")
	}
	return endpoint, nil
}

// ID is the chain's CAIP-2 id.
func (n *Network) ID() string { return n.codec.ID() }

// Codec is the format of this chain's transactions.
func (n *Network) Codec() *Codec { return n.codec }

// Close ends the connection.
func (n *Network) Close() {
	c := <-n.contact
	if c.client != nil {
		c.client.Close()
	}
	n.contact <- &contact{}
}

// connect gives the connection, made and checked if need be.
func (n *Network) connect(ctx context.Context) (*rpc.Client, error) {
	if ctx.Err() != nil {
		return nil, n.unreachable(ctx.Err())
	}
	var c *contact
	select {
	case c = <-n.contact:
	case <-ctx.Done():
		return nil, n.unreachable(ctx.Err())
	}
	defer func() { n.contact <- c }()
	ctx, cancel := context.WithTimeout(ctx, n.config.Timeout)
	defer cancel()
	if c.client == nil {
		client, err := rpc.DialOptions(ctx, n.config.URL, rpc.WithHTTPClient(httpClient()))
		if err != nil {
			return nil, n.unreachable(err)
		}
		c.client = client
	}
	if c.checked {
		return c.client, nil
	}
	if err := n.check(ctx, c.client); err != nil {
		return nil, err
	}
	c.checked = true
	return c.client, nil
}

// httpClient keeps connections open for concurrent batches; the default transport keeps two a host.
func httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
	}}
}

// check asks for the node's chain id.
func (n *Network) check(ctx context.Context, client *rpc.Client) error {
	var id hexutil.Uint64
	if err := client.CallContext(ctx, &id, "eth_chainId"); err != nil {
		return n.unreachable(err)
	}
	if n.codec == nil {
		n.codec = NewCodec(uint64(id))
	}
	if want := n.codec.chainID; uint64(id) != want {
		return problem.New(problem.Conflict, "chain-mismatch",
			"the node at %s serves chain %d and not %d: point Aval at a node of chain %d, or correct the chain id in its configuration",
			n.endpoint, uint64(id), want, want)
	}
	return nil
}

// doubt makes the next call check the chain id again.
func (n *Network) doubt() {
	c := <-n.contact
	c.checked = false
	n.contact <- c
}

// batch does the requests in as few round trips as MaxBatch allows. Each element keeps its own error; the answer is one that
// concerns the node as a whole.
func (n *Network) batch(ctx context.Context, elems []rpc.BatchElem) error {
	client, err := n.connect(ctx)
	if err != nil {
		return err
	}
	for len(elems) > 0 {
		part := elems[:min(len(elems), n.config.MaxBatch)]
		elems = elems[len(part):]
		if err := n.round(ctx, client, part); err != nil {
			n.doubt()
			return err
		}
	}
	return nil
}

func (n *Network) round(ctx context.Context, client *rpc.Client, elems []rpc.BatchElem) error {
	ctx, cancel := context.WithTimeout(ctx, n.config.Timeout)
	defer cancel()
	if err := client.BatchCallContext(ctx, elems); err != nil {
		return n.unreachable(err)
	}
	return nil
}

// read is a batch in which every request has to succeed.
func (n *Network) read(ctx context.Context, elems []rpc.BatchElem) error {
	if err := n.batch(ctx, elems); err != nil {
		return err
	}
	for _, elem := range elems {
		if elem.Error != nil {
			return n.unanswered(elem.Method, elem.Error)
		}
	}
	return nil
}

func request(result any, method string, args ...any) rpc.BatchElem {
	return rpc.BatchElem{Method: method, Args: args, Result: result}
}

func caip(chainID uint64) string { return fmt.Sprintf("eip155:%d", chainID) }

package evm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/sync/singleflight"

	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/together"
)

// endpoint is one node's address with all that is known of the node: the connection, whether it serves the chain, how often it
// failed, how long it wants to be left alone, and its newest block.
type endpoint struct {
	url, name string // name is what may be shown of the URL
	config    *Config
	identity  *identity
	dialing   singleflight.Group // one contact at a time, for all who wait for it
	link      atomic.Pointer[link]
	breaker   circuitbreaker.CircuitBreaker[any]
	closed    atomic.Bool
	ledger    ledger
	numbered  *together.Reads[hexutil.Uint64, common.Hash] // the canonical blocks' hashes
	contracts *lru.Cache[string, struct{}]                 // addresses that have code

	mu      sync.Mutex
	head    uint64    // of its newest block, as last told
	told    bool      // head was told
	quiet   time.Time // it is not asked before: it said that it was asked too often
	strikes int       // how often in a row it said so
	most    int       // requests in a round trip, as far as it has refused more
	failure error     // of the last contact; nil after a success, and before the first
	since   time.Time // when failure became what it is, nil or not
}

// link is a connection, and whether the node behind it was checked since the last failure.
type link struct {
	client  *rpc.Client
	checked bool
}

// The breaker opens when so many round trips in a row fail, and lets one through after a pause.
const (
	failures = 5
	pause    = time.Second
)

func newEndpoint(config *Config, address, name string, known *identity) *endpoint {
	e := &endpoint{
		url: address, name: name, config: config, identity: known, since: time.Now(), most: config.MaxBatch,
		breaker: circuitbreaker.NewBuilder[any]().WithFailureThreshold(failures).WithDelay(pause).Build(),
	}
	e.numbered, e.contracts = together.New(e.named), lru.NewCache[string, struct{}](contractsKept)
	return e
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

// admit says whether the node may be asked now; a nil answer has to be followed by a round trip, whose outcome is noted.
func (e *endpoint) admit() error {
	e.mu.Lock()
	quiet, failure := e.quiet, e.failure
	e.mu.Unlock()
	if left := time.Until(quiet); left > 0 {
		return problem.New(problem.Unavailable, "chain-unreachable", "the node at %s was asked too often and is left alone for %s: try again then, or raise its limit", e.name, left.Round(time.Millisecond))
	}
	if !e.breaker.TryAcquirePermit() {
		if isMismatch(failure) {
			return failure
		}
		return problem.New(problem.Unavailable, "chain-unreachable", "the node at %s has failed %d times in a row and is asked again in %s: %w", e.name, failures, e.breaker.RemainingDelay().Round(time.Millisecond), failure)
	}
	return nil
}

// connect gives the connection, made and checked if need be. Those who wait for it do so together, each as long as it wants.
func (e *endpoint) connect(ctx context.Context) (*rpc.Client, error) {
	if at := e.link.Load(); at != nil && at.checked {
		return at.client, nil
	}
	made := e.dialing.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.config.Timeout)
		defer cancel()
		return e.contact(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, e.unreachable(ctx.Err())
	case result := <-made:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*rpc.Client), nil
	}
}

func (e *endpoint) contact(ctx context.Context) (*rpc.Client, error) {
	at := e.link.Load()
	if at == nil {
		client, err := rpc.DialOptions(ctx, e.url, rpc.WithHTTPClient(e.httpClient()))
		if err != nil {
			return nil, e.unreachable(err)
		}
		at = &link{client: client}
		e.link.Store(at)
	}
	if e.closed.Load() {
		at.client.Close()
		return nil, e.unreachable(context.Canceled)
	}
	if err := e.check(ctx, at.client); err != nil {
		return nil, err
	}
	e.link.Store(&link{client: at.client, checked: true})
	return at.client, nil
}

// httpClient keeps connections open for concurrent batches; the default transport keeps two a host.
func (e *endpoint) httpClient() *http.Client {
	return &http.Client{Transport: listening{e, &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
	}}}
}

// check asks for the node's chain id and first block.
func (e *endpoint) check(ctx context.Context, client *rpc.Client) error {
	var id hexutil.Uint64
	var genesis *struct {
		Hash common.Hash `json:"hash"`
	}
	elems := []rpc.BatchElem{request(&id, "eth_chainId"), request(&genesis, "eth_getBlockByNumber", "0x0", false)}
	for i := range elems { // each alone: not every node knows batches
		if err := e.call(ctx, client, elems[i:i+1]); err != nil {
			return e.unreachable(err)
		}
	}
	if err := elems[0].Error; err != nil {
		return e.unanswered(elems[0].Method, err)
	}
	first := common.Hash{}
	if genesis != nil {
		first = genesis.Hash
	}
	return e.identity.meet(e.name, uint64(id), first)
}

// doubt makes the next call check the node again.
func (e *endpoint) doubt() {
	if at := e.link.Load(); at != nil && at.checked {
		e.link.CompareAndSwap(at, &link{client: at.client})
	}
}

func (e *endpoint) close() {
	e.closed.Store(true)
	if at := e.link.Swap(nil); at != nil {
		at.client.Close()
	}
}

// identity is the chain that all endpoints of a Network have to serve. What the configuration does not say the first node
// tells.
type identity struct {
	mu      sync.Mutex
	codec   *Codec      // nil until the chain id is known
	genesis common.Hash // zero until known
	alone   bool        // there is one endpoint: its first block is whatever it is
}

func isMismatch(err error) bool { return err != nil && problem.From(err).Code == "chain-mismatch" }

// meet compares a node with what is known.
func (i *identity) meet(name string, id uint64, genesis common.Hash) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.codec == nil {
		i.codec = NewCodec(id)
	}
	if want := i.codec.chainID; id != want {
		return problem.New(problem.Conflict, "chain-mismatch",
			"the node at %s serves chain %d and not %d: point Aval at a node of chain %d, or correct the chain id in its configuration", name, id, want, want)
	}
	switch {
	case i.alone || genesis == i.genesis:
	case genesis == common.Hash{}:
		return problem.New(problem.Conflict, "chain-mismatch", "the node at %s does not tell its first block, so it cannot be told whether it serves the same chain as the others: use another node", name)
	case i.genesis != common.Hash{}:
		return problem.New(problem.Conflict, "chain-mismatch",
			"the node at %s serves another chain with the id %d: its first block is %s, and that of the others is %s; point Aval at nodes of one chain", name, id, genesis, i.genesis)
	default:
		i.genesis = genesis
	}
	return nil
}

// unanswered is the problem for a question that the node could not answer.
func (e *endpoint) unanswered(what string, err error) error { return unanswered(e.name, what, err) }

// unreachable is the problem for a node that did not answer at all. The cause is freed of the URL, which may hold credentials.
func (e *endpoint) unreachable(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	said := shortened(err.Error())
	var status rpc.HTTPError
	if errors.As(err, &status) { // its body can be anything
		status.Body, said = nil, status.Status
		err = fmt.Errorf("the HTTP status is %w", status)
	}
	return caused(err, problem.Unavailable, "chain-unreachable", "the node at %s cannot be reached: start it, or correct the chain's endpoint in the configuration (%s)", e.name, said)
}

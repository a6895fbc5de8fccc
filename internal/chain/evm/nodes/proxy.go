package nodes

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// Faults are what a Proxy does wrong. The zero value does everything right.
type Faults struct {
	Down      bool          // it answers 502 to everything
	Delay     time.Duration // before it answers
	Every     int           // each so many-th request of a batch or alone is answered with an internal error, and not passed on
	Limited   time.Duration // it answers 429 and asks for such a pause
	Quota     bool          // it answers each request in words that it is asked too often, and asks for a pause of a second, as Infura does
	Swallow   bool          // it passes transactions on, and gives no answer to the round trip until its client gives up
	Forget    bool          // it says that it took transactions, and drops them
	Behind    uint64        // its head is so many blocks lower than it is
	Ahead     uint64        // its head is so many blocks higher than it is
	Unindexed bool          // it finds no transaction and no receipt by a hash
	Pruned    bool          // it keeps no receipts of blocks either
	Bodiless  bool          // it keeps no block that is asked for by its number, but for headers
	Stateless bool          // it keeps no state but the newest
	Gas       uint64        // what it estimates every call to need
	Refuses   bool          // it says that every call reverts
	MaxBatch  int           // more requests are refused as geth does
	NoBatches bool          // a batch is answered with one object, as nodes do that know none
}

// Proxy is a JSON-RPC endpoint over HTTP that passes requests on to a node and does wrong what it is told. It keeps which bytes
// were sent through it.
type Proxy struct {
	URL      string
	upstream string
	server   *httptest.Server
	mu       sync.Mutex
	faults   Faults
	requests int
	rounds   int
	sent     map[common.Hash]int
}

// NewProxy listens on a free port of loopback until Close.
func NewProxy(upstream string) *Proxy {
	p := &Proxy{upstream: upstream, sent: make(map[common.Hash]int)}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	p.URL = p.server.URL
	return p
}

// Close ends it.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

// Do sets what it does wrong from now on.
func (p *Proxy) Do(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// Rounds is how many round trips it has seen.
func (p *Proxy) Rounds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rounds
}

// Sent is how often each transaction was sent through it, by hash: other bytes are another hash.
func (p *Proxy) Sent() map[common.Hash]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.sent)
}

type call struct {
	Version string            `json:"jsonrpc"`
	ID      json.RawMessage   `json:"id"`
	Method  string            `json:"method"`
	Params  []json.RawMessage `json:"params"`
}

type reply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	p.mu.Lock()
	p.rounds++
	f := p.faults
	p.mu.Unlock()
	time.Sleep(f.Delay)
	switch {
	case f.Down:
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	case f.Limited > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(f.Limited.Seconds())))
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	}
	calls, batch := parse(body)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case batch && f.NoBatches:
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}`)
		return
	case f.MaxBatch > 0 && len(calls) > f.MaxBatch:
		answer(w, []reply{refusal(calls[0], -32600, "batch too large")}, batch)
		return
	}
	replies, swallowed := p.pass(calls, f)
	if swallowed {
		<-r.Context().Done()
		return
	}
	answer(w, replies, batch)
}

func parse(body []byte) (calls []call, batch bool) {
	if json.Unmarshal(body, &calls) == nil {
		return calls, true
	}
	calls = make([]call, 1)
	_ = json.Unmarshal(body, &calls[0]) // what is no call is refused by the node
	return calls, false
}

func answer(w io.Writer, replies []reply, batch bool) {
	var text json.RawMessage
	if batch {
		text = encoded(replies)
	} else {
		text = encoded(replies[0])
	}
	_, _ = w.Write(text) // the client has gone when this fails
}

// encoded is for what is always JSON.
func encoded(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func refusal(c call, code int, message string) reply {
	return reply{Version: "2.0", ID: c.ID, Error: encoded(map[string]any{"code": code, "message": message})}
}

// pass gives the calls to the node, each for itself, with what is to go wrong.
func (p *Proxy) pass(calls []call, f Faults) (replies []reply, swallowed bool) {
	for _, c := range calls {
		p.mu.Lock()
		p.requests++
		fails := f.Every > 0 && p.requests%f.Every == 0
		p.mu.Unlock()
		if f.Quota {
			replies = append(replies, reply{Version: "2.0", ID: c.ID, Error: encoded(map[string]any{
				"code": -32005, "message": "project ID request rate exceeded", "data": map[string]any{"backoff_seconds": 1.0},
			})})
			continue
		}
		if fails {
			replies = append(replies, refusal(c, -32603, "Internal error"))
			continue
		}
		if c.Method == "eth_sendRawTransaction" {
			hash := p.count(c)
			swallowed = swallowed || f.Swallow
			if f.Forget {
				replies = append(replies, reply{Version: "2.0", ID: c.ID, Result: encoded(hash)})
				continue
			}
		}
		if r, forgotten := forgot(c, f); forgotten {
			replies = append(replies, r)
			continue
		}
		replies = append(replies, bent(c, p.forward(c), f))
	}
	return replies, swallowed
}

func (p *Proxy) count(c call) (hash common.Hash) {
	var raw hexutil.Bytes
	if len(c.Params) > 0 {
		_ = json.Unmarshal(c.Params[0], &raw) // the node says what is wrong with it
	}
	hash = crypto.Keccak256Hash(raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[hash]++
	return hash
}

func (p *Proxy) forward(c call) (r reply) {
	response, err := http.Post(p.upstream, "application/json", bytes.NewReader(encoded(c))) //nolint:noctx // the node outlives it or refuses at once
	if err != nil {
		return refusal(c, -32603, "the node is away")
	}
	defer response.Body.Close()
	if json.NewDecoder(response.Body).Decode(&r) != nil {
		return refusal(c, -32603, "the node answers no JSON-RPC")
	}
	if r.Error == nil && r.Result == nil {
		r.Result = json.RawMessage("null")
	}
	return r
}

// forgot answers as a node does that has thrown away what is asked for.
func forgot(c call, f Faults) (r reply, forgotten bool) {
	switch {
	case (f.Unindexed || f.Pruned) && (c.Method == "eth_getTransactionReceipt" || c.Method == "eth_getTransactionByHash"):
		return reply{Version: "2.0", ID: c.ID, Result: json.RawMessage("null")}, true
	case f.Pruned && c.Method == "eth_getBlockReceipts",
		f.Bodiless && c.Method == "eth_getBlockByNumber" && len(c.Params) > 0 && bytes.HasPrefix(c.Params[0], []byte(`"0x`)) && !bytes.Equal(c.Params[0], []byte(`"0x0"`)):
		return refusal(c, 4444, "pruned history unavailable"), true
	case f.Stateless && c.Method == "eth_getTransactionCount" && len(c.Params) == 2 && bytes.HasPrefix(c.Params[1], []byte(`"0x`)):
		return refusal(c, -32000, "historical state 0x0b is not available"), true
	}
	return r, false
}

// bent lies about the head and about gas.
func bent(c call, r reply, f Faults) reply {
	var head hexutil.Uint64
	if c.Method == "eth_estimateGas" && f.Refuses {
		return refusal(c, 3, "execution reverted")
	}
	if c.Method == "eth_estimateGas" && f.Gas > 0 {
		r.Result, r.Error = encoded(hexutil.Uint64(f.Gas)), nil
	}
	if c.Method == "eth_blockNumber" && json.Unmarshal(r.Result, &head) == nil {
		r.Result = encoded(head + hexutil.Uint64(f.Ahead) - hexutil.Uint64(min(f.Behind, uint64(head))))
	}
	return r
}

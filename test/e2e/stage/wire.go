package stage

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// Wire is a JSON-RPC endpoint that passes everything on to a node. It keeps each transaction that anybody has broadcast
// through it, mined or not, and it can fail in three ways: before the node hears of a request; after the node has carried it
// out, so that whoever asked does not learn of it; and as a node does that takes transactions and forgets them.
type Wire struct {
	URL    string
	node   string
	server *httptest.Server

	mu     sync.Mutex
	cut    bool // requests do not reach the node
	silent int  // so many answers are still to be lost
	forget int  // so many requests that broadcast are still to be forgotten
	sent   map[string]*types.Transaction
}

// NewWire leads to the node at an address, until the test ends.
func NewWire(tb testing.TB, node string) *Wire {
	tb.Helper()
	w := &Wire{node: node, sent: map[string]*types.Transaction{}}
	w.server = httptest.NewServer(http.HandlerFunc(w.pass))
	w.URL = w.server.URL
	tb.Cleanup(w.server.Close)
	return w
}

// Cut lets no request reach the node, or lets them pass again.
func (w *Wire) Cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// Lead leads to another node from now on.
func (w *Wire) Lead(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.node = node
}

// Lose lets the node carry the next n broadcasts out and loses its answers.
func (w *Wire) Lose(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = n
}

// Forget takes the next n requests that broadcast, answers that all is well, and does nothing more about them.
func (w *Wire) Forget(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget = n
}

// Broadcasts are the transactions that were ever sent, by hash.
func (w *Wire) Broadcasts() map[string]*types.Transaction {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string]*types.Transaction, len(w.sent))
	for hash, tx := range w.sent {
		all[hash] = tx
	}
	return all
}

func (w *Wire) pass(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	node := w.end()
	if err != nil || node == "" {
		hangUp()
	}
	taken, sending := w.note(body)
	if sending && w.forgets() {
		out.Header().Set("Content-Type", "application/json")
		_, _ = out.Write(taken) // whoever asked may have gone
		return
	}
	request, err := http.NewRequestWithContext(in.Context(), in.Method, node, bytes.NewReader(body))
	if err != nil {
		hangUp()
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		hangUp()
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil || sending && w.loses() {
		hangUp()
	}
	out.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	out.WriteHeader(answer.StatusCode)
	_, _ = out.Write(content) // whoever asked may have gone
}

// hangUp breaks the connection off without an answer.
func hangUp() { panic(http.ErrAbortHandler) }

// end is the node at the other end, "" while the wire is cut.
func (w *Wire) end() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return ""
	}
	return w.node
}

func (w *Wire) forgets() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget--
	return w.forget >= 0
}

func (w *Wire) loses() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent--
	return w.silent >= 0
}

// note keeps what a request broadcasts, says whether it does, and what a node answers that has taken it.
func (w *Wire) note(body []byte) (taken []byte, sending bool) {
	var batch []call
	many := json.Unmarshal(body, &batch) == nil
	if !many {
		batch = make([]call, 1)
		if json.Unmarshal(body, &batch[0]) != nil {
			return nil, false
		}
	}
	answers := make([]any, len(batch))
	for i, c := range batch {
		var params []hexutil.Bytes
		tx := new(types.Transaction)
		if c.Method != "eth_sendRawTransaction" || json.Unmarshal(c.Params, &params) != nil || len(params) != 1 || tx.UnmarshalBinary(params[0]) != nil {
			continue
		}
		sending = true
		answers[i] = map[string]any{"jsonrpc": "2.0", "id": c.ID, "result": tx.Hash().Hex()}
		w.mu.Lock()
		w.sent[tx.Hash().Hex()] = tx
		w.mu.Unlock()
	}
	if many {
		taken, _ = json.Marshal(answers) // strings always encode
	} else {
		taken, _ = json.Marshal(answers[0]) // the same
	}
	return taken, sending
}

// call is a JSON-RPC request.
type call struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
}

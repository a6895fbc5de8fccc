package stage

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Counterparty is another system that Aval calls, with state of its own: services by the first part of the path, each with a
// journal of what it was asked to do. A POST that has an Idempotency-Key is done and noted each time that it comes: the
// counterparty promises nothing, so that what is asked for twice shows. A GET of /SERVICE/…/KEY tells whether it was done.
type Counterparty struct {
	URL string

	mu      sync.Mutex
	journal map[string]map[string]int // by service and path, and key: how often it was done
	answers map[string]func(body map[string]any, r *http.Request) (int, any)
	trouble func(service string, r *http.Request) Trouble
}

// Trouble is what happens to one request.
type Trouble uint8

// The troubles.
const (
	Fine    Trouble = iota
	Unheard         // the connection breaks before anything is done
	Lost            // it is done, and the connection breaks
	Storm           // status 500, and nothing is done
	Both            // status 500, and it is done
	Late            // it is done, and the answer comes after seconds
)

// NewCounterparty serves on loopback until the test ends.
func NewCounterparty(tb testing.TB) *Counterparty {
	tb.Helper()
	c := &Counterparty{journal: map[string]map[string]int{}, answers: map[string]func(map[string]any, *http.Request) (int, any){}}
	server := httptest.NewServer(http.HandlerFunc(c.serve))
	c.URL = server.URL
	tb.Cleanup(server.Close)
	return c
}

// Answer says how a path is answered, in place of what the journal says: "/bank/holds", or "/quick/" for all below.
func (c *Counterparty) Answer(path string, answer func(body map[string]any, r *http.Request) (status int, value any)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[path] = answer
}

// Trouble asks fn what happens to each request from now on; nil is Fine.
func (c *Counterparty) Trouble(fn func(service string, r *http.Request) Trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = fn
}

// Done is how often what was asked of a path was done, by key.
func (c *Counterparty) Done(path string) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]int{}
	for key, n := range c.journal[path] {
		all[key] = n
	}
	return all
}

func (c *Counterparty) serve(w http.ResponseWriter, r *http.Request) {
	service, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body) // a GET has none
	c.mu.Lock()
	trouble := c.trouble
	c.mu.Unlock()
	what := Fine
	if trouble != nil {
		what = trouble(service, r)
	}
	switch what {
	case Unheard:
		hangUp()
	case Storm:
		w.WriteHeader(http.StatusInternalServerError)
		return
	default:
	}
	status, value := c.carryOut(r, body)
	switch what {
	case Lost:
		hangUp()
	case Both:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case Late:
		select {
		case <-time.After(5 * time.Second):
		case <-r.Context().Done():
		}
	default:
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // whoever asked may have gone
}

// carryOut answers a request and notes what it does.
func (c *Counterparty) carryOut(r *http.Request, body map[string]any) (int, any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, answer := range c.answers {
		if r.URL.Path == path || strings.HasSuffix(path, "/") && strings.HasPrefix(r.URL.Path, path) {
			if status, value := answer(body, r); status != 0 {
				return status, value
			}
		}
	}
	key := r.Header.Get("Idempotency-Key")
	if r.Method == http.MethodGet {
		at := strings.LastIndex(r.URL.Path, "/")
		key = r.URL.Path[at+1:]
		if c.journal[r.URL.Path[:at]][key] == 0 {
			return http.StatusNotFound, map[string]string{"text": "there is no such key"}
		}
		return http.StatusOK, map[string]string{"id": "id-" + key}
	}
	if key == "" {
		return http.StatusBadRequest, map[string]string{"text": fmt.Sprintf("no Idempotency-Key at %s", r.URL.Path)}
	}
	if c.journal[r.URL.Path] == nil {
		c.journal[r.URL.Path] = map[string]int{}
	}
	c.journal[r.URL.Path][key]++
	return http.StatusCreated, map[string]string{"id": "id-" + key}
}

package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
)

// Whatever is sent, wherever, an answer that refuses it does not repeat it (I25).
func TestRefusalsRepeatNothing(t *testing.T) {
	const canary = "hunter2canary"
	e := trial.Start(t, stores(t), nil)
	p, op := newParty(t, e, "alice"), operator(t, e)
	hers := own(t, p)
	for _, ep := range endpoints(t, e.Server) {
		who := op
		if !slices.Contains(ep.scopes, "aval:operator") {
			who = p
		}
		var paths []string
		for _, name := range append(ep.queries, canary) {
			paths = append(paths, ep.at(t, hers)+"?"+url.QueryEscape(name)+"="+canary)
		}
		if strings.Contains(ep.path, "{") {
			paths = append(paths, strings.NewReplacer("{id}", canary, "{type}", canary).Replace(ep.path))
		}
		for _, body := range []string{"", canary, `"` + canary + `"`, `{"` + canary + `":"` + canary + `"}`, `{"name":5,"count":"` + canary + `","signers":["` + canary + `"],"reason":["` + canary + `"],"chain":"` + canary + `"}`} {
			if body != "" && ep.method != "GET" {
				r := who.request(t.Context(), ep.method, ep.at(t, hers), []byte(body))
				r.Header.Set("Last-Event-ID", canary)
				checkSilent(t, ep.String()+" with body "+body, do(t, r), canary)
			}
		}
		for _, path := range paths {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			r := who.request(ctx, ep.method, path, ep.body(p, hers))
			r.Header.Set("Last-Event-ID", canary)
			checkSilent(t, ep.method+" "+path, do(t, r), canary)
			cancel()
		}
	}
	checkSilent(t, "no route", p.get("/"+canary), canary)
	checkSilent(t, "no method", p.call(http.MethodDelete, "/v1/messages/"+canary, nil), canary)
}

func checkSilent(t *testing.T, what string, a answer, canary string) {
	t.Helper()
	if a.status < 400 {
		return
	}
	a.problem(t)
	if a.status >= 500 {
		t.Errorf("%s: got %d: %s", what, a.status, a.body)
	}
	if strings.Contains(string(a.body), canary) {
		t.Errorf("%s: the refusal repeats what was sent: %s", what, a.body)
	}
	for name, values := range a.header {
		if strings.Contains(strings.Join(values, ""), canary) {
			t.Errorf("%s: the header %s repeats what was sent", what, name)
		}
	}
}

func TestMisses(t *testing.T) {
	p := newParty(t, trial.Start(t, stores(t), nil), "alice")
	p.get("/v2").refused(t, http.StatusNotFound, "route-unknown")
	a := p.call(http.MethodDelete, "/v1/messages", nil)
	a.refused(t, http.StatusMethodNotAllowed, "method-not-allowed")
	if a.header.Get("Allow") != "GET" {
		t.Errorf("Allow: got %q", a.header.Get("Allow"))
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// broken fails as databases do, with words that are nobody's business.
type broken struct{ server.Queries }

func (broken) List(context.Context, reference.Query) (reference.Page, error) {
	return reference.Page{}, errors.New("disk I/O error at /var/lib/aval/reference.db")
}

func (broken) Counts(context.Context, string) ([]reference.Count, error) { panic("index out of range") }

func TestDefectsAreNotTold(t *testing.T) {
	var log strings.Builder
	var mu sync.Mutex
	e := trial.Start(t, stores(t), func(c *server.Config, s *server.Services) {
		c.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) { mu.Lock(); defer mu.Unlock(); log.Write(b) }), nil))
		s.Queries = broken{}
	})
	p := newParty(t, e, "alice")
	for _, path := range []string{"/v1/messages", "/v1/counts"} {
		a := p.get(path)
		a.refused(t, http.StatusInternalServerError, "internal")
		if strings.Contains(string(a.body), "/var/lib") || strings.Contains(string(a.body), "range") {
			t.Errorf("%s tells of the inside: %s", path, a.body)
		}
		mu.Lock()
		if text := log.String(); !strings.Contains(text, a.problem(t).Instance) {
			t.Errorf("the log does not have the instance of %s: %s", path, text)
		}
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "/var/lib/aval") || !strings.Contains(log.String(), "index out of range") {
		t.Errorf("the log does not say what failed: %s", log.String())
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func TestRequestsAreObservedByRoute(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	e := trial.Start(t, stores(t), func(c *server.Config, _ *server.Services) {
		c.Observe = func(method, route string, status int, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[method+" "+route] = status
		}
	})
	p := newParty(t, e, "alice")
	p.get("/v1/messages/" + string(message.NewID()))
	p.get("/nowhere/at/all")
	mu.Lock()
	defer mu.Unlock()
	if seen["GET /v1/messages/{id}"] != 404 || seen["other none"] != 404 || len(seen) != 2 {
		t.Errorf("got %v", seen)
	}
}

func TestHealthAndDocument(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	nobody := &party{t: t, edge: e}
	for _, path := range []string{"/healthz", "/readyz", "/.well-known/openid-configuration", "/oauth/jwks.json"} {
		if a := nobody.get(path); a.status != 200 {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	if a := nobody.get("/openapi.json"); string(a.body) != string(e.Server.OpenAPI()) {
		t.Error("the document that is served is another one")
	}
}

// slow answers when it is told to.
type slow struct {
	server.Messages
	entered, leave chan struct{}
}

func (s slow) Get(ctx context.Context, id message.ID) (guarantee.Record, []guarantee.Entry, error) {
	close(s.entered)
	<-s.leave
	return s.Messages.Get(ctx, id)
}

func TestServeLetsRequestsFinish(t *testing.T) {
	gate := slow{entered: make(chan struct{}), leave: make(chan struct{})}
	e := trial.Start(t, stores(t), func(_ *server.Config, s *server.Services) {
		gate.Messages = s.Messages
		s.Messages = gate
	})
	p := newParty(t, e, "alice")
	id, _ := p.submit("slow")
	address, stop, served := serve(t, e)
	r := p.request(t.Context(), "GET", "/v1/messages/"+string(id), nil)
	r.URL.Host = address
	answered := make(chan int, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			answered <- 0
			return
		}
		defer func() { _ = response.Body.Close() }()
		_, _ = io.Copy(io.Discard, response.Body)
		answered <- response.StatusCode
	}()
	<-gate.entered
	stop()
	close(gate.leave)
	if status := <-answered; status != 200 {
		t.Errorf("the request that was under way got %d", status)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// serve runs the server by its own Serve, with its time limits, on another address.
func serve(t *testing.T, e *trial.Edge) (address string, stop func(), served chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served = make(chan error, 1)
	go func() { served <- e.Server.Serve(ctx, listener) }()
	return listener.Addr().String(), stop, served
}

func TestStreamsOutlastTheTimeLimitOfRequests(t *testing.T) {
	const limit = 50 * time.Millisecond
	e := trial.Start(t, stores(t), func(c *server.Config, _ *server.Services) { c.Timeout, c.Heartbeat = limit, limit/5 })
	p := newParty(t, e, "alice")
	id, _ := p.submit("long")
	address, stop, served := serve(t, e)
	there := *p
	there.edge = &trial.Edge{URL: "http://" + address}
	one, all := there.follow("/v1/messages/"+string(id)+"/events", "1"), there.follow("/v1/events", "")
	for range 20 { // four times the limit
		for _, s := range []*follower{one, all} {
			if _, more := s.next(); !more {
				t.Fatal("a stream was cut off by the time limit")
			}
		}
	}
	if err := e.Finish(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if f := one.event(); f.id != "2" {
		t.Errorf("got %+v", f)
	}
	if f := all.event(); f.message(t).ID != id {
		t.Errorf("got %+v", f)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

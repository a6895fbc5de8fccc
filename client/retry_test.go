package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server/trial"
)

// flaky is a connection that does what next says with each request.
type flaky struct {
	next func(n int32, r *http.Request) (*http.Response, error) // nil, nil passes the request on
	n    atomic.Int32
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if response, err := f.next(f.n.Add(1), r); response != nil || err != nil {
		return response, err
	}
	return http.DefaultTransport.RoundTrip(r)
}

func answered(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/problem+json"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// A submission that was carried out and whose answer was lost is submitted again, and accepted once (A1).
func TestSubmitIsRepeatedWhenTheAnswerIsLost(t *testing.T) {
	e := start(t, nil)
	c, key, p := party(t, e, "shop")
	ids, err := c.IssueIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	m := client.Message{ID: ids.IDs[0].ID, Type: "note.v1", Client: p.ID, Chain: trial.Chain, Expires: ids.IDs[0].Expires, Body: map[string]string{"text": "once"}}
	signed, err := c.Sign(m, ids, client.KeySigner(key))
	if err != nil {
		t.Fatal(err)
	}
	lost := &flaky{next: func(n int32, r *http.Request) (*http.Response, error) {
		switch {
		case r.Method != http.MethodPut:
			return nil, nil
		case n <= 2: // 1 is for the token
			response, err := http.DefaultTransport.RoundTrip(r)
			if err == nil {
				_ = response.Body.Close()
			}
			return nil, errors.New("connection reset by peer")
		case n == 3:
			return answered(503, `{"type":"/problems/key-busy","detail":"try again"}`), nil
		}
		return nil, nil
	}}
	again := connect(t, e.URL, client.WithHTTP(&http.Client{Transport: lost}), client.WithCredentials(p.ID, p.Secret))
	rec, err := again.Submit(t.Context(), m.ID, signed)
	if err != nil || rec.Version != 1 || lost.n.Load() != 4 {
		t.Fatalf("got %+v, %v after %d requests", rec, err, lost.n.Load())
	}
}

func TestWhatIsNotHarmlessIsNotRepeated(t *testing.T) {
	down := &flaky{next: func(int32, *http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }}
	c := connect(t, "http://aval.invalid", client.WithHTTP(&http.Client{Transport: down}))
	if _, err := c.Park(t.Context(), "msg_x", "because"); err == nil || down.n.Load() != 1 {
		t.Errorf("park was sent %d times: %v", down.n.Load(), err)
	}
	down.n.Store(0)
	if _, err := c.Counts(t.Context()); err == nil || down.n.Load() != 5 {
		t.Errorf("counts was asked %d times: %v", down.n.Load(), err)
	}
	refusing := &flaky{next: func(int32, *http.Request) (*http.Response, error) {
		return answered(409, `{"type":"/problems/message-id-reused","detail":"taken"}`), nil
	}}
	c = connect(t, "http://aval.invalid", client.WithHTTP(&http.Client{Transport: refusing}))
	if _, err := c.Submit(t.Context(), "msg_x", []byte("{}")); client.CodeOf(err) != "message-id-reused" || refusing.n.Load() != 1 {
		t.Errorf("a refusal was asked for %d times: %v", refusing.n.Load(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ending := &flaky{next: func(int32, *http.Request) (*http.Response, error) {
		cancel()
		return answered(503, `{"type":"/problems/stopping","detail":"later"}`), nil
	}}
	c = connect(t, "http://aval.invalid", client.WithHTTP(&http.Client{Transport: ending}))
	if _, err := c.Counts(ctx); client.CodeOf(err) != "stopping" || ending.n.Load() != 1 {
		t.Errorf("after its context had ended the call was made %d times: %v", ending.n.Load(), err)
	}
}

// A token that the installation refuses is replaced by a fresh one.
func TestRefusedTokenIsReplaced(t *testing.T) {
	var tokens atomic.Int32
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/oauth/token":
			_, _ = fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, tokens.Add(1))
		case r.Header.Get("Authorization") == "Bearer t2":
			_, _ = io.WriteString(w, `{"counts":[{"type":"note.v1","state":"Done","status":"succeeded","number":7}]}`)
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"type":"/problems/token-invalid","detail":"no"}`)
		}
	}))
	defer h.Close()
	c := connect(t, h.URL, client.WithCredentials("cli_1", "s"))
	for range 2 {
		if counts, err := c.Counts(t.Context()); err != nil || len(counts) != 1 || counts[0].Number != 7 {
			t.Fatalf("got %+v, %v", counts, err)
		}
	}
	if tokens.Load() != 2 {
		t.Errorf("%d tokens were asked for, want 2", tokens.Load())
	}
	static := connect(t, h.URL, client.WithToken("old"))
	if _, err := static.Counts(t.Context()); client.CodeOf(err) != "token-invalid" {
		t.Errorf("got %v", err)
	}
}

// cut ends each stream after its first event.
type cut struct {
	mu    sync.Mutex
	asked []string // the Last-Event-ID of each connection
}

func (c *cut) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || response.Header.Get("Content-Type") != "text/event-stream" {
		return response, err
	}
	c.mu.Lock()
	c.asked = append(c.asked, r.Header.Get("Last-Event-ID"))
	c.mu.Unlock()
	response.Body = &short{ReadCloser: response.Body}
	return response, nil
}

type short struct {
	io.ReadCloser
	ended bool
}

func (s *short) Read(p []byte) (int, error) {
	if s.ended {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := s.ReadCloser.Read(p[:1])
	for err == nil && n < len(p) && !strings.HasSuffix(string(p[:n]), "\n\n") {
		var more int
		more, err = s.ReadCloser.Read(p[n : n+1])
		n += more
	}
	s.ended = strings.HasSuffix(string(p[:n]), "\n\n")
	return n, err
}

func TestWatchComesBackWhereItBroke(t *testing.T) {
	e := start(t, nil)
	sender, key, p := party(t, e, "shop")
	rec := note(t, sender, key, "watch me")
	if err := e.Finish(t.Context(), message.ID(rec.ID)); err != nil {
		t.Fatal(err)
	}
	breaking := &cut{}
	c := connect(t, e.URL, client.WithHTTP(&http.Client{Transport: breaking}), client.WithCredentials(p.ID, p.Secret))
	var versions []int64
	for step, err := range c.Watch(t.Context(), rec.ID) {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, step.Entry.Version)
	}
	if fmt.Sprint(versions) != "[1 2 3]" || fmt.Sprint(breaking.asked) != "[ 1 2 3]" {
		t.Errorf("got the versions %v over connections after %q", versions, breaking.asked)
	}
	for _, err := range c.Watch(t.Context(), string(message.NewID())) {
		if client.CodeOf(err) != "message-unknown" {
			t.Errorf("watching what does not exist: %v", err)
		}
	}
}

// A connection that has died without a word is given up, and the stream goes on over another one.
func TestSilentStreamIsMadeAgain(t *testing.T) {
	var connections atomic.Int32
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if connections.Add(1) == 1 {
			_, _ = io.WriteString(w, "id: 1\nevent: step\ndata: {\"entry\":{\"version\":1}}\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "id: 2\nevent: step\ndata: {\"entry\":\ndata: {\"version\":2}}\n\nid: 2\nevent: end\ndata: {}\n\n")
	}))
	defer h.Close()
	c := connect(t, h.URL, client.WithPatience(20*time.Millisecond))
	var versions []int64
	for step, err := range c.Watch(t.Context(), "msg_x") {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, step.Entry.Version)
	}
	if fmt.Sprint(versions) != "[1 2]" || connections.Load() != 2 {
		t.Errorf("got the versions %v over %d connections", versions, connections.Load())
	}
}

func TestBaseWithAPathIsKept(t *testing.T) {
	var asked atomic.Pointer[url.URL]
	seen := &flaky{next: func(_ int32, r *http.Request) (*http.Response, error) {
		asked.Store(r.URL)
		return answered(200, `{}`), nil
	}}
	c := connect(t, "https://gateway.invalid/aval/", client.WithHTTP(&http.Client{Transport: seen}))
	if _, err := c.Get(t.Context(), "msg/../../x"); err != nil {
		t.Fatal(err)
	}
	if got := asked.Load().String(); got != "https://gateway.invalid/aval/v1/messages/msg%2F..%2F..%2Fx" {
		t.Errorf("asked for %s", got)
	}
}

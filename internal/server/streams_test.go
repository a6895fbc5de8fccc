package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
)

// frame is one event as it comes over the wire; a comment has no name.
type frame struct{ id, name, data string }

func (f frame) message(t testing.TB) server.Message {
	t.Helper()
	var m server.Message
	if err := json.Unmarshal([]byte(f.data), &m); err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	return m
}

type follower struct {
	t        testing.TB
	response *http.Response
	lines    *bufio.Reader
	leave    context.CancelFunc
}

// follow opens a stream; a stream that gives nothing for ten seconds breaks off and fails the test.
func (p *party) follow(path, last string) *follower {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	p.t.Cleanup(cancel)
	r := p.request(ctx, "GET", path, nil)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = response.Body.Close() })
	return &follower{p.t, response, bufio.NewReader(response.Body), cancel}
}

// next gives the next event or comment, and whether there is one before the stream's end.
func (f *follower) next() (frame, bool) {
	f.t.Helper()
	var got frame
	for {
		line, err := f.lines.ReadString('\n')
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return got, false
		}
		if err != nil {
			f.t.Fatalf("the stream broke off: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			got.id = value
		case "event":
			got.name = value
		case "data":
			got.data = value
		case "":
			return got, true
		}
	}
}

// event skips comments.
func (f *follower) event() frame {
	f.t.Helper()
	for {
		got, more := f.next()
		if !more {
			f.t.Fatal("the stream has ended")
		}
		if got.name != "" {
			return got
		}
	}
}

func (f *follower) until(wanted func(frame) bool) {
	f.t.Helper()
	for !wanted(f.event()) {
		continue
	}
	f.leave()
}

func TestMessageStreamReplaysThenFollowsThenEnds(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	id, _ := p.submit("watch me")
	if err := e.Step(t.Context(), id, "Authorize", guarantee.Running); err != nil {
		t.Fatal(err)
	}
	s := p.follow("/v1/messages/"+string(id)+"/events", "")
	for _, version := range []string{"1", "2"} {
		if f := s.event(); f.name != "step" || f.id != version {
			t.Fatalf("replay: got %+v, want version %s", f, version)
		}
	}
	if err := e.Finish(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"3", "4"} {
		if f := s.event(); f.name != "step" || f.id != version {
			t.Fatalf("live: got %+v, want version %s", f, version)
		}
	}
	if f := s.event(); f.name != "end" || f.id != "4" || !f.message(t).Archived {
		t.Fatalf("end: got %+v", f)
	}
	if f, more := s.next(); more {
		t.Fatalf("after the end came %+v", f)
	}
	resumed := p.follow("/v1/messages/"+string(id)+"/events", "3")
	if f := resumed.event(); f.id != "4" || f.name != "step" {
		t.Fatalf("after Last-Event-ID 3 came %+v", f)
	}
}

func TestAllStreamResumesWhereItWasLeft(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	alice, bob := newParty(t, e, "alice"), newParty(t, e, "bob")
	live := alice.follow("/v1/events", "")
	live.next() // the comment that says that it has begun
	first, _ := alice.submit("one")
	begun := live.event()
	if begun.name != "message" || begun.message(t).ID != first {
		t.Fatalf("live: got %+v", begun)
	}
	live.leave()
	bob.submit("not alice's")
	second, _ := alice.submit("two")
	resumed := alice.follow("/v1/events", begun.id)
	f := resumed.event()
	if f.message(t).ID != second {
		t.Fatalf("after %s came %+v, want only what came later and is alice's", begun.id, f)
	}
	everything := operator(t, e).follow("/v1/events", begun.id)
	if f := everything.event(); f.message(t).Client != bob.id {
		t.Fatalf("an operator sees %+v, want bob's message first", f)
	}
}

func TestAllStreamTellsOfAGap(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	live := p.follow("/v1/events", "")
	live.next()
	p.submit("one")
	p.submit("two")
	live.event()
	last := live.event().id
	live.leave()
	if err := e.Outbox.Trim(t.Context(), 1<<40); err != nil {
		t.Fatal(err)
	}
	s := p.follow("/v1/events", "1")
	if f := s.event(); last == "1" || f.name != "gap" {
		t.Fatalf("after what is held no more came %+v, want a gap", f)
	}
	third, _ := p.submit("three")
	if f := s.event(); f.message(t).ID != third {
		t.Fatalf("after the gap came %+v", f)
	}
}

func TestSilentStreamShowsSignsOfLife(t *testing.T) {
	e := trial.Start(t, stores(t), func(c *server.Config, _ *server.Services) { c.Heartbeat = 5 * time.Millisecond })
	p := newParty(t, e, "alice")
	id, _ := p.submit("quiet")
	s := p.follow("/v1/messages/"+string(id)+"/events", "1")
	for range 3 {
		if f, more := s.next(); !more || f != (frame{}) {
			t.Fatalf("got %+v, want a comment", f)
		}
	}
}

func TestStreamsOfOneClientAreBounded(t *testing.T) {
	e := trial.Start(t, stores(t), func(c *server.Config, _ *server.Services) { c.MaxClientStreams = 2 })
	alice, bob := newParty(t, e, "alice"), newParty(t, e, "bob")
	first, second := alice.follow("/v1/events", ""), alice.follow("/v1/events", "")
	first.next()
	second.next()
	refused := alice.get("/v1/events")
	refused.refused(t, http.StatusTooManyRequests, "too-many-streams")
	if refused.header.Get("Retry-After") == "" {
		t.Error("a refusal that passes has no Retry-After")
	}
	if f := bob.follow("/v1/events", ""); f.response.StatusCode != 200 {
		t.Error("alice's streams have taken bob's")
	}
	first.leave()
	for alice.follow("/v1/events", "").response.StatusCode != 200 { // until the server has seen that the first has left
		continue
	}
}

func TestStoppingEndsStreams(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	id, _ := p.submit("watch me")
	one, all := p.follow("/v1/messages/"+string(id)+"/events", ""), p.follow("/v1/events", "")
	one.event()
	all.next()
	e.Server.Stop()
	if f, more := one.next(); more {
		t.Errorf("after the stop came %+v", f)
	}
	if f, more := all.next(); more {
		t.Errorf("after the stop came %+v", f)
	}
	p.get("/readyz").refused(t, http.StatusServiceUnavailable, "stopping")
}

// A stream that was allowed when it began ends when its client is disabled.
func TestA22DisabledClientsStreamEnds(t *testing.T) {
	e := trial.Start(t, stores(t), func(c *server.Config, _ *server.Services) { c.Heartbeat = 5 * time.Millisecond })
	p := newParty(t, e, "alice")
	id, _ := p.submit("watch me")
	one, all := p.follow("/v1/messages/"+string(id)+"/events", ""), p.follow("/v1/events", "")
	one.event()
	all.next()
	_, err := e.Clients.Change(t.Context(), p.id, func(c *clients.Client) error { c.Disabled = true; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Finish(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*follower{one, all} {
		for f, more := s.next(); more; f, more = s.next() {
			if f.name != "" {
				t.Errorf("a disabled client still got %+v", f)
			}
		}
	}
}

package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
)

func TestIssueGivesWhatSigningNeeds(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	var ids server.IssuedIDs
	p.call("POST", "/v1/message-ids", []byte(`{"count":3}`)).into(t, http.StatusCreated, &ids)
	if len(ids.IDs) != 3 || ids.Client != p.id || len(ids.Domains) != 1 || ids.Domains[0].Chain != trial.Chain || ids.Domains[0].Domain != e.Domain {
		t.Fatalf("got %+v", ids)
	}
	var one server.IssuedIDs
	p.call("POST", "/v1/message-ids", nil).into(t, http.StatusCreated, &one)
	if len(one.IDs) != 1 {
		t.Errorf("got %d ids without asking for a number, want 1", len(one.IDs))
	}
	for count, status := range map[string]int{"0": 422, "-1": 422, "1001": 422, `"1"`: 422, "1e3": 422} {
		if a := p.call("POST", "/v1/message-ids", []byte(`{"count":`+count+`}`)); a.status != status {
			t.Errorf("count %s: got %d, want %d: %s", count, a.status, status, a.body)
		}
	}
}

// The bytes come back as they were sent, white space, order and all (I1).
func TestOriginalIsKeptByteForByte(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	id := p.issue()
	signed := bytes.Replace(p.note(id, "ünïcode"), []byte(`{`), []byte("{\n\t "), 1)
	signed = append(signed, " \n\n"...)
	var first server.Message
	p.call("PUT", "/v1/messages/"+string(id.ID), signed).into(t, http.StatusCreated, &first)
	if got := p.get(first.Links.Original); got.status != 200 || !bytes.Equal(got.body, signed) || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("the original came back as %d %s %q, was %q", got.status, got.header.Get("Content-Type"), got.body, signed)
	}
	if first.State != "Validate" || first.Status != guarantee.Running || first.Version != 1 || first.Due == nil || first.Client != p.id || first.Type != "note.v1" {
		t.Errorf("got %+v", first)
	}
}

func TestA1SameMessageAgain(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	id := p.issue()
	signed := p.note(id, "once")
	path := "/v1/messages/" + string(id.ID)
	created := make(chan int, 20)
	var all sync.WaitGroup
	for range cap(created) {
		all.Go(func() { created <- p.call("PUT", path, signed).status })
	}
	all.Wait()
	close(created)
	count := map[int]int{}
	for status := range created {
		count[status]++
	}
	if count[201] != 1 || count[200] != 19 {
		t.Fatalf("20 submissions of one message were answered %v, want one 201 and the others 200", count)
	}
	if err := e.Finish(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	var m server.Message
	p.call("PUT", path, signed).into(t, http.StatusOK, &m)
	if m.State != server.Archived || m.Status != guarantee.Succeeded || !m.Archived {
		t.Errorf("the archived message again: got %+v", m)
	}
}

func TestA2SameIDOtherBody(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	id := p.issue()
	path := "/v1/messages/" + string(id.ID)
	first := p.note(id, "one")
	p.call("PUT", path, first)
	p.call("PUT", path, p.note(id, "two")).refused(t, http.StatusConflict, "message-id-reused")
	if got := p.get(path + "/original"); !bytes.Equal(got.body, first) {
		t.Error("the refused message has replaced the first")
	}
}

func TestA8NeverIssued(t *testing.T) {
	p := newParty(t, trial.Start(t, stores(t), nil), "alice")
	id := p.issue()
	id.ID = message.NewID()
	p.call("PUT", "/v1/messages/"+string(id.ID), p.note(id, "one")).refused(t, http.StatusNotFound, "message-unknown")
}

func TestBodyOfTheLargestSize(t *testing.T) {
	p := newParty(t, trial.Start(t, stores(t), nil), "alice")
	id := p.issue()
	signed := p.note(id, "one")
	padded := append(signed, bytes.Repeat([]byte(" "), 64<<10-len(signed))...)
	p.call("PUT", "/v1/messages/"+string(id.ID), append(padded, ' ')).refused(t, http.StatusRequestEntityTooLarge, "request-too-large")
	if a := p.call("PUT", "/v1/messages/"+string(id.ID), padded); a.status != http.StatusCreated {
		t.Fatalf("a body of 64 KiB: got %d: %s", a.status, a.body)
	}
}

func TestHistoryListAndCounts(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	live := p.follow("/v1/events", "") // Reference applies an event before it is handed to those who follow live
	live.next()
	var ids []message.ID
	for i := range 5 {
		id, _ := p.submit(fmt.Sprint("note ", i))
		ids = append(ids, id)
	}
	if err := e.Finish(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	var history server.History
	p.get("/v1/messages/"+string(ids[0])+"/history").into(t, 200, &history)
	if len(history.Entries) != 3 || history.Entries[2].Version != 3 {
		t.Fatalf("got %+v, want three entries", history)
	}
	live.until(func(f frame) bool { return f.message(t).ID == ids[0] && f.message(t).Archived })
	var seen []message.ID
	path := "/v1/messages?limit=2"
	for next := path; next != ""; {
		var page server.MessagePage
		p.get(next).into(t, 200, &page)
		for _, m := range page.Messages {
			seen = append(seen, m.ID)
		}
		next = ""
		if page.Next != "" {
			next = path + "&cursor=" + page.Next
		}
	}
	if len(seen) != 5 || seen[0] != ids[4] || seen[4] != ids[0] {
		t.Errorf("pages gave %v, want %v from the newest", seen, ids)
	}
	var done server.MessagePage
	p.get("/v1/messages?status=succeeded&type=note.v1").into(t, 200, &done)
	if len(done.Messages) != 1 || done.Messages[0].State != server.Archived {
		t.Errorf("the succeeded ones: got %+v", done.Messages)
	}
	var counts server.Counts
	p.get("/v1/counts").into(t, 200, &counts)
	total := int64(0)
	for _, c := range counts.Counts {
		total += c.Number
	}
	if total != 5 {
		t.Errorf("the counts add up to %d, want 5: %+v", total, counts)
	}
	p.get("/v1/messages?stauts=parked").refused(t, 422, "request-invalid")
	p.get("/v1/messages?state=archived").refused(t, 422, "state-not-listed")
	p.get("/v1/messages?cursor=bogus").refused(t, 400, "cursor-malformed")
}

func TestOperatorsParkAndResume(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p, op := newParty(t, e, "alice"), operator(t, e)
	id, _ := p.submit("hold me")
	path := "/v1/messages/" + string(id)
	var m server.Message
	op.call("POST", path+"/park", []byte(`{"reason":"ask the client"}`)).into(t, 200, &m)
	if m.Status != guarantee.Parked || !strings.Contains(m.Reason, "ask the client") {
		t.Fatalf("parked: got %+v", m)
	}
	op.call("POST", path+"/park", []byte(`{}`)).refused(t, 422, "request-invalid")
	m = server.Message{}
	op.call("POST", path+"/resume", nil).into(t, 200, &m)
	if m.Status != guarantee.Running || m.Reason != "" {
		t.Fatalf("resumed: got %+v", m)
	}
	op.call("POST", path+"/replay", nil).refused(t, http.StatusConflict, "message-not-parked")
	p.call("POST", path+"/park", []byte(`{"reason":"mine"}`)).refused(t, http.StatusForbidden, "scope-missing")
}

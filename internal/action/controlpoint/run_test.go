package controlpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// bank is a system at the edge: it keeps one hold for each key, in a journal of its own, and can be made to fail.
type bank struct {
	*httptest.Server
	mu     sync.Mutex
	holds  map[string]string // key: amount
	asked  []string          // method and path, in order
	before func(w http.ResponseWriter, r *http.Request) bool
	after  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered, or the connection is gone
}

func newBank(t *testing.T) *bank {
	b := &bank{holds: map[string]string{}}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *bank) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r.Method+" "+r.URL.Path)
	if b.before != nil && b.before(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		key := filepath.Base(r.URL.Path)
		if _, there := b.holds[key]; !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"hold": %q, "amount": %q}`, key, b.holds[key])
		return
	}
	var hold struct{ Amount string }
	_ = json.Unmarshal(body, &hold)
	key := r.Header.Get("Idempotency-Key")
	b.holds[key] += hold.Amount // twice would show
	if b.after != nil && b.after(w, r) {
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"hold": %q, "amount": %q}`, key, hold.Amount)
}

// hangUp breaks off without an answer.
func hangUp(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// effects are how often each request was carried out; what was done twice shows as "5050".
func (b *bank) effects() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := ""
	for _, amount := range b.holds {
		all += amount + ";"
	}
	return all
}

const holdFile = `
name: hold
effect: true
arguments: {type: object, required: [amount], properties: {amount: {type: string}}}
result: {type: object, required: [hold]}
targets:
  bank: {url: %s, timeout: 2s%s}
request:
  path: /holds
  headers: {X-Tenant: "{%% message.client %%}"}
  body: {amount: "{%% string(dec(args.amount)) %%}"}
%s`

const lookupPart = `lookup: {path: "/holds/{key}", values: {key: "{% key %}"}, settle: 1ms}`

// subject is a control point over real storage.
type subject struct {
	t       *testing.T
	action  step.Action
	journal controlpoint.Journal
	rec     guarantee.Record
}

func load(t *testing.T, source string) *subject {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &subject{t: t, journal: sqlite.NewCalls(db)}
	s.rec.ID, s.rec.Client, s.rec.Type, s.rec.Body = message.NewID(), "cli_a", "note.v1", []byte(`{"text":"x"}`)
	s.load(source)
	return s
}

func (s *subject) load(source string) {
	s.t.Helper()
	p, err := controlpoint.Load("hold.yaml", []byte(source), options(s.t, s.journal))
	if err != nil {
		s.t.Fatal(err)
	}
	s.action = p.Actions()[0]
}

func options(t *testing.T, journal controlpoint.Journal) controlpoint.Options {
	t.Helper()
	allowed, err := controlpoint.ParseAllowed("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return controlpoint.Options{Allowed: allowed, Journal: journal, Secret: func(ref string) (string, error) { return "hunter2canary", nil }}
}

func (s *subject) run(resumed bool, arguments string) step.Outcome {
	return s.action.Run(s.t.Context(), []step.Task{s.task(resumed, arguments)})[0]
}

func (s *subject) task(resumed bool, arguments string) step.Task {
	return step.Task{Record: &s.rec, State: "Hold", Arguments: json.RawMessage(arguments), Resumed: resumed}
}

func code(o step.Outcome) string {
	switch {
	case o.Err != nil:
		return problem.From(o.Err).Code
	case o.Later > 0:
		return "later"
	}
	return "ok"
}

func (s *subject) want(o step.Outcome, want string) {
	s.t.Helper()
	if code(o) != want {
		s.t.Errorf("the outcome is %s (%v), want %s", code(o), o.Err, want)
	}
}

const fifty = `{"amount":"50"}`

func TestACallIsTranslatedBothWays(t *testing.T) {
	b := newBank(t)
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", `response: {result: {hold: "{% response.body.hold %}", sum: "{% string(dec(response.body.amount) + dec('0.005')) %}", by: "{% target %}"}}`))
	o := s.run(false, `{"amount":"123456789012345678901234567890.50"}`)
	s.want(o, "ok")
	var got map[string]string
	if err := json.Unmarshal(o.Output.(json.RawMessage), &got); err != nil || got["sum"] != "123456789012345678901234567890.505" || got["by"] != "bank" || len(got["hold"]) != 32 {
		t.Errorf("the result is %s, %v", o.Output, err)
	}
	s.want(s.run(false, `{"amount":5}`), "control-point-arguments-invalid")
}

// TestI5ALostAnswerIsLookedUp: carried out, reported as broken off, and then found.
func TestI5ALostAnswerIsLookedUp(t *testing.T) {
	b := newBank(t)
	b.after = hangUp
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", lookupPart))
	s.want(s.run(false, fifty), "control-point-timeout")
	s.want(s.run(true, fifty), "ok")
	if b.effects() != "50;" {
		t.Errorf("the bank's holds: %s; asked %v", b.effects(), b.asked)
	}
	s.want(s.run(true, fifty), "ok") // from the journal
	if len(b.asked) != 2 {
		t.Errorf("the bank was asked %v", b.asked)
	}
}

// TestI5WhatNeverCameIsSentAfterALookUp: lost before the bank heard of it.
func TestI5WhatNeverCameIsSentAfterALookUp(t *testing.T) {
	b := newBank(t)
	b.before = hangUp
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", lookupPart))
	s.want(s.run(false, fifty), "control-point-timeout")
	s.want(s.run(true, fifty), "control-point-timeout") // the look-up has no answer: nothing is known, nothing is sent
	b.before = nil
	s.want(s.run(true, fifty), "ok")
	if got := strings.Join(b.asked, ","); b.effects() != "50;" || !strings.HasSuffix(got, "POST /holds") || strings.Count(got, "POST") != 2 {
		t.Errorf("the bank's holds: %s; asked %s", b.effects(), got)
	}
}

// TestI5ALookUpThatComesTooEarlyProvesNothing: a request on its way may still arrive.
func TestI5ALookUpThatComesTooEarlyProvesNothing(t *testing.T) {
	b := newBank(t)
	b.before = hangUp
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", strings.Replace(lookupPart, "1ms", "1h", 1)))
	s.want(s.run(false, fifty), "control-point-timeout")
	b.before = nil
	if o := s.run(true, fifty); o.Later < 59*time.Minute || b.effects() != "" {
		t.Errorf("the outcome is %+v, the holds %s", o, b.effects())
	}
}

// TestI5WithoutALookUpNothingIsRepeated: it is told, however often it is asked.
func TestI5WithoutALookUpNothingIsRepeated(t *testing.T) {
	b := newBank(t)
	b.after = hangUp
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", ""))
	s.want(s.run(false, fifty), "control-point-timeout")
	for range 3 {
		s.want(s.run(true, fifty), "control-point-unknown")
	}
	if b.effects() != "50;" || len(b.asked) != 1 {
		t.Errorf("the bank's holds: %s; asked %v", b.effects(), b.asked)
	}
}

// TestWhatNeverLeftIsSentAgain: also without a look-up, as it is certain.
func TestWhatNeverLeftIsSentAgain(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	b := newBank(t)
	s := load(t, fmt.Sprintf(holdFile, gone.URL, "", ""))
	s.want(s.run(false, fifty), "control-point-unreachable")
	s.want(s.run(true, fifty), "control-point-unreachable")
	s.load(fmt.Sprintf(holdFile, b.URL, "", ""))
	s.want(s.run(true, fifty), "ok")
	if b.effects() != "50;" {
		t.Errorf("the bank's holds: %s", b.effects())
	}
}

// TestAnIdempotentTargetIsAskedAgainUnderTheSameKey, and net/http never does so by itself: the connection breaks on a
// connection that was used before, which is when it would.
func TestAnIdempotentTargetIsAskedAgainUnderTheSameKey(t *testing.T) {
	b := newBank(t)
	s := load(t, fmt.Sprintf(holdFile, b.URL, ", idempotent: true", ""))
	s.want(s.run(false, fifty), "ok")
	s.rec.ID = message.NewID()
	b.before = func(http.ResponseWriter, *http.Request) bool { b.before = nil; return hangUp(nil, nil) }
	s.want(s.run(false, fifty), "control-point-timeout")
	if len(b.asked) != 2 {
		t.Fatalf("the bank was asked %v: something repeats requests", b.asked)
	}
	s.want(s.run(true, fifty), "ok")
	if b.effects() != "50;50;" || len(b.asked) != 3 {
		t.Errorf("the bank's holds: %s; asked %v", b.effects(), b.asked)
	}
}

// TestI5OnlyOneOfTwoSends: two processes that both believe that the message is theirs.
func TestI5OnlyOneOfTwoSends(t *testing.T) {
	b := newBank(t)
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", lookupPart))
	var both sync.WaitGroup
	var codes [2]string
	for i := range codes {
		both.Go(func() { codes[i] = code(s.run(false, fifty)) })
	}
	both.Wait()
	if b.effects() != "50;" || codes[0] == codes[1] || codes[0]+codes[1] != "okcontrol-point-begun" && codes[0]+codes[1] != "control-point-begunok" {
		t.Errorf("the outcomes are %v, the holds %s", codes, b.effects())
	}
}

// TestAStormOpensTheBreaker: then nothing is sent for a while.
func TestAStormOpensTheBreaker(t *testing.T) {
	b := newBank(t)
	b.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }
	s := load(t, fmt.Sprintf(holdFile, b.URL, ", breaker: {failures: 3, pause: 200ms}", lookupPart))
	for i := range 6 {
		want := "control-point-failed"
		if i >= 3 {
			want = "control-point-open"
		}
		s.rec.ID = message.NewID()
		s.want(s.run(false, fifty), want)
	}
	if len(b.asked) != 3 {
		t.Errorf("the bank was asked %v", b.asked)
	}
	b.before = nil
	deadline := time.Now().Add(10 * time.Second)
	for code(s.run(true, fifty)) != "ok" && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if b.effects() != "50;" {
		t.Errorf("the bank's holds: %s", b.effects())
	}
}

// TestRefusalsHaveNames that Retry and Catch can match, and a refused request can be made again.
func TestRefusalsHaveNames(t *testing.T) {
	b := newBank(t)
	b.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(422)
		fmt.Fprint(w, `{"code":"NSF","text":"too little, hunter2canary"}`)
		return true
	}
	s := load(t, fmt.Sprintf(holdFile, b.URL, ", auth: {bearer: env:X}", `response: {refusals: [{status: [422], when: "{% response.body.code == 'NSF' %}", name: funds-short, detail: "{% response.body.text %}"}]}`))
	o := s.run(false, fifty)
	s.want(o, "funds-short")
	if text := o.Err.Error(); !strings.Contains(text, "too little") || strings.Contains(text, "hunter2") {
		t.Errorf("I25: the refusal is told as %q", text)
	}
	b.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }
	s.want(s.run(true, fifty), "control-point-refused")
	b.before = nil
	s.want(s.run(true, fifty), "ok")
}

// TestAnswersAreReadStrictly: what cannot be read may have happened, and is looked up.
func TestAnswersAreReadStrictly(t *testing.T) {
	for name, answer := range map[string]string{
		"twice": `{"hold":"a","hold":"b"}`, "more": `{"hold":"a"} {}`, "no JSON": `<html>`, "UTF-8": "{\"hold\":\"\xff\"}", "schema": `{"held":"a"}`,
		"long": `{"hold":"` + strings.Repeat("x", 300) + `"}`, "deep": strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBank(t)
			b.after = func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, answer); return true }
			s := load(t, fmt.Sprintf(holdFile, b.URL, ", max_response: 256", lookupPart))
			s.want(s.run(false, fifty), "control-point-answer-invalid")
			s.want(s.run(true, fifty), "ok")
			if b.effects() != "50;" {
				t.Errorf("the bank's holds: %s", b.effects())
			}
		})
	}
}

// TestWhatIsPendingIsAskedForUntilItIsDone.
func TestWhatIsPendingIsAskedForUntilItIsDone(t *testing.T) {
	b := newBank(t)
	b.after = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(202)
		fmt.Fprint(w, `{"hold":"a","amount":"pending"}`)
		return true
	}
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", lookupPart+"\nresponse: {pending: \"{% response.status == 202 %}\", again: 7s}"))
	if o := s.run(false, fifty); o.Later != 7*time.Second {
		t.Errorf("the outcome is %+v", o)
	}
	s.want(s.run(true, fifty), "ok")
	if b.effects() != "50;" || len(b.asked) != 2 {
		t.Errorf("the bank's holds: %s; asked %v", b.effects(), b.asked)
	}
}

func TestATimeLimitIsKept(t *testing.T) {
	b := newBank(t)
	release := make(chan struct{})
	defer close(release)
	b.after = func(http.ResponseWriter, *http.Request) bool { b.mu.Unlock(); <-release; b.mu.Lock(); return true }
	s := load(t, strings.Replace(fmt.Sprintf(holdFile, b.URL, "", lookupPart), "timeout: 2s", "timeout: 50ms", 1))
	o := s.run(false, fifty)
	s.want(o, "control-point-timeout")
	b.mu.Lock()
	b.after = nil
	b.mu.Unlock()
	s.want(s.run(true, fifty), "ok")
	if b.effects() != "50;" {
		t.Errorf("the bank's holds: %s", b.effects())
	}
}

// TestAStoppedProcessLeavesTheRequestNoted, and the next one looks it up.
func TestAStoppedProcessLeavesTheRequestNoted(t *testing.T) {
	b := newBank(t)
	ctx, stop := context.WithCancel(t.Context())
	b.after = func(http.ResponseWriter, *http.Request) bool { stop(); return hangUp(nil, nil) }
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", lookupPart))
	s.action.Run(ctx, []step.Task{{Record: &s.rec, State: "Hold", Arguments: json.RawMessage(fifty)}})
	s.want(s.run(true, fifty), "ok")
	if b.effects() != "50;" {
		t.Errorf("the bank's holds: %s", b.effects())
	}
}

package controlpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/message"
)

// three is a control point that asks three banks.
func three(t *testing.T, gather, more string) (*subject, [3]*bank) {
	t.Helper()
	var banks [3]*bank
	targets := ""
	for i := range banks {
		banks[i] = newBank(t)
		targets += fmt.Sprintf("  %c: {url: %q, timeout: 2s}\n", 'a'+rune(i), banks[i].URL)
	}
	return load(t, "name: hold\neffect: true\ntargets:\n"+targets+"request: {path: /holds, body: {amount: \"{% args.amount %}\"}}\ngather: "+gather+"\n"+more), banks
}

// told is the list of answers in short: "a answered,b cancelled".
func told(t *testing.T, o step.Outcome) string {
	t.Helper()
	raw, _ := o.Output.(json.RawMessage)
	var got struct {
		Answers []struct{ Target, Status string }
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v: %+v", err, o)
	}
	var all []string
	for _, a := range got.Answers {
		all = append(all, a.Target+" "+a.Status)
	}
	return strings.Join(all, ",")
}

func refuses(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(400); return true }

func TestAllHaveToAnswer(t *testing.T) {
	s, _ := three(t, "{want: all}", lookupPart)
	o := s.run(false, fifty)
	s.want(o, "ok")
	if got := told(t, o); got != "a answered,b answered,c answered" {
		t.Error(got)
	}
	s, banks := three(t, "{want: all}", lookupPart)
	banks[1].before = refuses
	o = s.run(false, fifty)
	s.want(o, "control-point-short")
	if text := o.Err.Error(); !strings.Contains(text, "3 answers are needed and there are 2") || !strings.Contains(text, "b refused (control-point-refused)") {
		t.Error(text)
	}
}

// TestTheFirstAnswerIsEnough: the others are called off, and the list says so.
func TestTheFirstAnswerIsEnough(t *testing.T) {
	s, banks := three(t, "{want: first}", lookupPart)
	for _, b := range banks[1:] {
		b.before = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return hangUp(nil, nil) }
	}
	began := time.Now()
	o := s.run(false, fifty)
	s.want(o, "ok")
	if got := told(t, o); got != "a answered,b cancelled,c cancelled" || time.Since(began) > time.Second {
		t.Errorf("%s after %s", got, time.Since(began))
	}
}

func TestAQuorumIsEnough(t *testing.T) {
	s, banks := three(t, "{want: quorum, quorum: 2, result: {ids: \"{% answers.filter(a, a.status == 'answered').map(a, a.target) %}\"}}", lookupPart)
	banks[0].before = refuses
	o := s.run(false, fifty)
	s.want(o, "ok")
	if got := string(o.Output.(json.RawMessage)); got != `{"ids":["b","c"]}` {
		t.Error(got)
	}
	s, banks = three(t, "{want: quorum, quorum: 2}", lookupPart)
	banks[0].before, banks[1].before = refuses, refuses
	s.want(s.run(false, fifty), "control-point-short")
}

// TestI5EachTargetOfAGatherIsAskedOnce: after a crash or lost answers those who have done their part are not asked again, the others
// are looked up, each under its own key.
func TestI5EachTargetOfAGatherIsAskedOnce(t *testing.T) {
	s, banks := three(t, "{want: all}", lookupPart)
	banks[1].after = hangUp
	banks[2].before = hangUp
	s.want(s.run(false, fifty), "control-point-incomplete")
	banks[2].before = nil
	s.want(s.run(true, fifty), "ok")
	keys := map[string]bool{}
	for i, b := range banks {
		if b.effects() != "50;" {
			t.Errorf("bank %d: %s", i, b.effects())
		}
		for key := range b.holds {
			keys[key] = true
		}
	}
	if got := strings.Join(banks[0].asked, ","); len(keys) != 3 || got != "POST /holds" {
		t.Errorf("%d keys; the first was asked %s", len(keys), got)
	}
	s, banks = three(t, "{want: all}", "")
	banks[1].after = hangUp
	s.want(s.run(false, fifty), "control-point-incomplete")
	s.want(s.run(true, fifty), "control-point-unknown")
	if banks[1].effects() != "50;" {
		t.Errorf("without a look-up: %s", banks[1].effects())
	}
}

// TestARouteIsByContentAndHeaders, and what was begun stays with its target when the route leads elsewhere by now.
func TestARouteIsByContentAndHeaders(t *testing.T) {
	a, b := newBank(t), newBank(t)
	source := func(limit string) string {
		return fmt.Sprintf(`
name: hold
effect: true
targets: {a: {url: %q}, b: {url: %q}}
request: {path: /holds, headers: {X-Lane: "{%% args.lane %%}"}, body: {amount: "{%% args.amount %%}"}}
route:
  - {when: "{%% headers['x-lane'] == 'fast' && message.client == 'cli_a' %%}", to: b}
  - {when: "{%% dec(args.amount) > dec('%s') %%}", to: b}
  - {when: "{%% args.amount != '7' %%}", to: [a]}
%s`, a.URL, b.URL, limit, lookupPart)
	}
	s := load(t, source("100.5"))
	for arguments, want := range map[string]string{
		`{"amount":"100.5","lane":"slow"}`: "1 0", `{"amount":"100.50001","lane":"slow"}`: "0 1", `{"amount":"1","lane":"fast"}`: "0 1",
	} {
		a.asked, b.asked = nil, nil
		s.rec.ID = message.NewID()
		s.want(s.run(false, arguments), "ok")
		if got := fmt.Sprint(len(a.asked), " ", len(b.asked)); got != want {
			t.Errorf("%s: asked %s, want %s", arguments, got, want)
		}
	}
	s.rec.ID = message.NewID()
	s.want(s.run(false, `{"amount":"7","lane":""}`), "control-point-no-route")
	a.after = hangUp
	s.want(s.run(false, `{"amount":"50","lane":""}`), "control-point-timeout")
	a.after, b.asked = nil, nil
	s.load(source("1"))
	s.want(s.run(true, `{"amount":"50","lane":""}`), "ok")
	if len(b.asked) != 0 {
		t.Errorf("b was asked %v for what a has done", b.asked)
	}
}

// TestI5AGatherKeepsTheTargetsThatItBeganWith, when the route leads to others by now.
func TestI5AGatherKeepsTheTargetsThatItBeganWith(t *testing.T) {
	a, b := newBank(t), newBank(t)
	source := func(to string) string {
		return fmt.Sprintf("name: hold\neffect: true\ntargets: {a: {url: %q}, b: {url: %q}}\nrequest: {path: /holds, body: {amount: \"50\"}}\ngather: {want: all}\nroute: [{to: %s}]\n%s", a.URL, b.URL, to, lookupPart)
	}
	s := load(t, source("a"))
	a.after = hangUp
	s.want(s.run(false, fifty), "control-point-incomplete")
	s.load(source("b"))
	o := s.run(true, fifty)
	s.want(o, "ok")
	if got := told(t, o); got != "b answered,a answered" || a.effects() != "50;" {
		t.Errorf("%s, a has %s", got, a.effects())
	}
}

package machine

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// actions: "effect" has an outside effect, "pure" has none.
func actions(name string) (effect, known bool) {
	return name == "effect", name == "effect" || name == "pure"
}

func load(t *testing.T, source string) *Definition {
	t.Helper()
	d, err := Load("test.v1", []byte("QueryLanguage: CEL\n"+source), actions)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// player drives one message through a definition, storing and reading its place at every step as Guarantee does.
type player struct {
	t     *testing.T
	def   *Definition
	place []byte
	ext   json.RawMessage
	now   time.Time
	move  Move
}

func play(t *testing.T, source string) *player {
	d := load(t, source)
	p := &player{t: t, def: d, place: d.Start().Encode(), now: start}
	p.next(Event{})
	return p
}

func (p *player) next(e Event) Move {
	p.t.Helper()
	place, err := DecodePlace(p.place, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	env := Env{Now: p.now, Random: 0.5, Message: func() any {
		return map[string]any{"id": "msg_1", "type": "test.v1", "body": map[string]any{"amount": "12"}}
	}}
	p.move = p.def.Next(place, p.ext, e, env)
	again := p.def.Next(place, p.ext, e, env)
	if one, two := show(p.move), show(again); one != two {
		p.t.Fatalf("the machine is not pure:\n%s\n%s", one, two)
	}
	p.place, p.ext = p.move.Place.Encode(), p.move.Ext
	return p.move
}

// asked is what a Move of a workflow without branches asks for.
func asked(m Move) *Run {
	if len(m.Runs) == 0 {
		return nil
	}
	return &m.Runs[0]
}

func show(m Move) string {
	raw, _ := json.Marshal(m)
	return string(raw)
}

func (p *player) succeed(output string) Move {
	p.t.Helper()
	return p.next(Event{Kind: Succeeded, Output: json.RawMessage(output)})
}

func (p *player) fail(name string) Move {
	p.t.Helper()
	return p.next(Event{Kind: Failed, Error: name, Cause: "because"})
}

func (p *player) wants(state, action string, attempt int, resumed bool) {
	p.t.Helper()
	r := asked(p.move)
	if r == nil || r.State != state || r.Action != action || r.Attempt != attempt || r.Resumed != resumed {
		p.t.Fatalf("got %s, want to run %s in %s, attempt %d, resumed %v", show(p.move), action, state, attempt, resumed)
	}
}

func (p *player) done(succeeded bool, err string) {
	p.t.Helper()
	if d := p.move.Done; d == nil || d.Succeeded != succeeded || d.Error != err {
		p.t.Fatalf("got %s, want the end: succeeded %v, error %q", show(p.move), succeeded, err)
	}
}

func TestTaskChain(t *testing.T) {
	p := play(t, `
StartAt: One
States:
  One: {Type: Task, Resource: pure, Assign: {first: "{% states.result.n %}"}, Next: Two}
  Two:
    Type: Task
    Resource: effect
    Arguments: {n: "{% vars.first + 1 %}", amount: "{% message.body.amount %}", fixed: [1, two]}
    Catch: [{ErrorEquals: [States.ALL], Next: Bad}]
    Output: "{% states.result.ok %}"
    End: true
  Bad: {Type: Fail, Error: Bad}
`)
	p.wants("One", "pure", 1, false)
	p.succeed(`{"n": 41}`)
	p.wants("Two", "effect", 1, false)
	if got := string(asked(p.move).Arguments); got != `{"amount":"12","fixed":[1,"two"],"n":42}` {
		t.Errorf("the arguments are %s", got)
	}
	if string(p.ext) != `{"first":41}` {
		t.Errorf("the ext is %s", p.ext)
	}
	p.succeed(`{"ok": true}`)
	p.done(true, "")
	if string(p.move.Done.Output) != "true" {
		t.Errorf("the output is %s", p.move.Done.Output)
	}
}

func TestAnInterruptedTaskIsResumed(t *testing.T) {
	p := play(t, `
StartAt: One
States:
  One: {Type: Task, Resource: effect, Catch: [{ErrorEquals: [States.ALL], Next: Bad}], End: true}
  Bad: {Type: Fail}
`)
	p.wants("One", "effect", 1, false)
	if len(p.move.Visits) != 1 || p.move.Visits[0].What != "entered" {
		t.Errorf("I5: the intent has no entry in the history: %+v", p.move.Visits)
	}
	p.next(Event{Kind: Fed}) // the process died and the message was fed again
	p.wants("One", "effect", 1, true)
}

const retrying = `
StartAt: One
States:
  One:
    Type: Task
    Resource: effect
    TimeoutSeconds: 10
    Retry:
      - {ErrorEquals: [busy], IntervalSeconds: 2, MaxAttempts: 2, BackoffRate: 3}
      - {ErrorEquals: [States.Timeout], MaxAttempts: 1, JitterStrategy: FULL, IntervalSeconds: 4}
    Catch:
      - {ErrorEquals: [gone], Next: Gone, Assign: {why: "{% states.errorOutput.Cause %}"}}
      - {ErrorEquals: [States.ALL], Next: Bad}
    End: true
  Gone: {Type: Succeed, Output: "{% vars.why %}"}
  Bad: {Type: Fail, Error: "{% states.input.Error %}", Cause: for good}
`

func TestRetry(t *testing.T) {
	p := play(t, retrying)
	for i, delay := range []time.Duration{2 * time.Second, 6 * time.Second} {
		p.fail("busy")
		if !p.move.Wait.Equal(p.now.Add(delay)) {
			t.Fatalf("retry %d waits until %s, want %s", i+1, p.move.Wait, delay)
		}
		p.next(Event{Kind: Fed}) // too early
		if asked(p.move) != nil {
			t.Fatal("it was run before its time")
		}
		p.now = p.now.Add(delay)
		p.next(Event{Kind: Fed})
		p.wants("One", "effect", i+2, true)
	}
	p.fail("busy")
	p.done(false, "busy")
}

func TestCatch(t *testing.T) {
	p := play(t, retrying)
	p.fail("gone")
	p.done(true, "")
	if string(p.move.Done.Output) != `"because"` {
		t.Errorf("the output is %s", p.move.Done.Output)
	}
}

func TestTimeout(t *testing.T) {
	p := play(t, retrying)
	p.now = p.now.Add(9 * time.Second)
	p.next(Event{Kind: Later})
	p.wants("One", "effect", 1, true)
	p.now = p.now.Add(time.Second)
	p.next(Event{Kind: Later})
	if want := p.now.Add(2 * time.Second); !p.move.Wait.Equal(want) { // 4 s, jittered by 0.5
		t.Fatalf("after the timeout it waits until %s, want %s", p.move.Wait, want)
	}
	p.now = p.now.Add(2 * time.Second)
	p.next(Event{Kind: Fed})
	p.wants("One", "effect", 2, true)
	p.now = p.now.Add(10 * time.Second)
	p.next(Event{Kind: Fed}) // it was cut off, and its time is over
	p.done(false, "States.Timeout")
}

func TestChoicePassAndWait(t *testing.T) {
	p := play(t, `
StartAt: Which
States:
  Which:
    Type: Choice
    Choices:
      - {Condition: "{% dec(message.body.amount) > dec('100') %}", Next: Large}
      - {Condition: "{% message.type == 'test.v1' %}", Next: Small, Assign: {size: small}}
  Large: {Type: Fail, Error: Large}
  Small: {Type: Pass, Output: {size: "{% vars.size %}"}, Next: Nap}
  Nap: {Type: Wait, Seconds: 60, Next: Until}
  Until: {Type: Wait, Timestamp: "2026-01-02T03:10:00Z", Next: End}
  End: {Type: Succeed}
`)
	if !p.move.Wait.Equal(start.Add(time.Minute)) || len(p.move.Visits) != 3 {
		t.Fatalf("got %s", show(p.move))
	}
	p.now = start.Add(time.Minute)
	p.next(Event{Kind: Fed})
	if !p.move.Wait.Equal(time.Date(2026, 1, 2, 3, 10, 0, 0, time.UTC)) {
		t.Fatalf("got %s", show(p.move))
	}
	p.now = start.Add(time.Hour)
	p.next(Event{Kind: Fed})
	p.done(true, "")
	if string(p.move.Done.Output) != `{"size":"small"}` {
		t.Errorf("the output is %s", p.move.Done.Output)
	}
}

func TestFailuresThatNothingCatches(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"no choice":           {"StartAt: C\nStates:\n  C: {Type: Choice, Choices: [{Condition: '{% false %}', Next: E}]}\n  E: {Type: Succeed}", ErrNoChoice},
		"not a boolean":       {"StartAt: C\nStates:\n  C: {Type: Choice, Choices: [{Condition: '{% 1 %}', Next: E}]}\n  E: {Type: Succeed}", ErrQuery},
		"expression fails":    {"StartAt: P\nStates:\n  P: {Type: Pass, Output: '{% message.nothing.here %}', End: true}", ErrQuery},
		"a circle":            {"StartAt: A\nStates:\n  A: {Type: Pass, Next: B}\n  B: {Type: Choice, Choices: [{Condition: '{% false %}', Next: E}], Default: A}\n  E: {Type: Succeed}", ErrRuntime},
		"seconds not whole":   {"StartAt: W\nStates:\n  W: {Type: Wait, Seconds: '{% \"x\" %}', End: true}", ErrQuery},
		"data over the limit": {"StartAt: P\nStates:\n  P: {Type: Pass, Output: '" + strings.Repeat("x", MaxData) + "', End: true}", ErrDataLimit},
	} {
		t.Run(name, func(t *testing.T) {
			p := play(t, c.source)
			p.done(false, c.want)
			if !p.move.Done.Uncaught {
				t.Error("it counts as an end that the workflow foresaw")
			}
		})
	}
}

func TestRestartKeepsThatAnEffectMayHaveHappened(t *testing.T) {
	p := play(t, retrying)
	p.fail("busy")
	place, err := DecodePlace(p.place, nil)
	if err != nil {
		t.Fatal(err)
	}
	anew, _ := place.Restart()
	p.place = anew.Encode()
	p.next(Event{Kind: Fed})
	p.wants("One", "effect", 2, true)
	for range 2 { // all retries are there again
		p.fail("busy")
		if p.move.Wait.IsZero() {
			t.Fatalf("got %s, want another retry", show(p.move))
		}
		p.now = p.move.Wait
		p.next(Event{Kind: Fed})
	}
}

func TestShippedWorkflowsLoad(t *testing.T) {
	shipped := func(name string) (effect, known bool) {
		effects := map[string]bool{"sign": true, "send": true, "confirm": true, "validate": false, "authorize": false, "record": false, "archive": false, "park": false}
		effect, known = effects[name]
		return effect, known
	}
	for _, name := range []string{"note.v1", "transfer.v1", "call.v1"} {
		source, err := os.ReadFile("../../../workflows/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		parks := func(action string) bool { return action == "park" }
		if _, found := Review(name, source, Rules{Actions: shipped, Parks: parks}); len(found) > 0 {
			t.Error(found.In(name))
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("QueryLanguage: CEL\n" + retrying))
	f.Add([]byte(`{"QueryLanguage":"CEL","StartAt":"A","States":{"A":{"Type":"Wait","Seconds":1,"End":true}}}`))
	f.Fuzz(func(t *testing.T, source []byte) {
		reviewed, found := Review("test.v1", source, trial())
		for _, one := range found {
			if one.Line < 1 || one.Column < 1 {
				t.Fatalf("a finding has no place: %+v", one)
			}
		}
		d, err := Load("fuzz.v1", source, trial().Actions)
		if reviewed != nil && err != nil {
			t.Fatalf("Review takes what Load does not: %v", err)
		}
		if err != nil {
			return
		}
		env := Env{Now: start, Message: func() any { return map[string]any{} }}
		place := d.Start()
		for _, e := range []Event{{}, {Kind: Succeeded, Output: json.RawMessage("{}")}, {Kind: Failed, Error: "x"}, {Kind: Later}} {
			if m := d.Next(place, nil, e, env); asked(m) == nil && m.Wait.IsZero() && m.Done == nil {
				t.Fatalf("a Move without direction: %s", show(m))
			} else {
				place = m.Place
			}
		}
	})
}

func FuzzDecodePlace(f *testing.F) {
	f.Add([]byte(`{"v":1,"s":"One","p":"y","i":{"a":1},"a":2,"n":[1],"e":1,"u":2}`), "", []byte(nil))
	f.Add([]byte(`{"v":1,"s":"F","f":{"t":3,"s":2,"x":1,"b":[{"i":1,"p":{"s":"T","f":{"t":1,"s":1,"r":[7]}}}],"r":[null,null,null]},"b":["F/0/T"]}`), "", []byte(nil))
	f.Add([]byte(`{"v":2,"s":"F","p":"r","f":{"t":3},"b":["One"]}`), "b/F/0/T f/0/ f/1/ f/1/0/ f/i", []byte(`1 {"r":1} {"p":{"s":"T","f":{"t":2}}} {"r":null,"x":true} [1,2]`))
	f.Fuzz(func(t *testing.T, raw []byte, keys string, data []byte) {
		var parts []Part
		for i, key := range strings.Fields(keys) {
			if each := bytes.Fields(data); i < len(each) {
				parts = append(parts, Part{key, each[i]})
			}
		}
		p, err := DecodePlace(raw, parts)
		if err != nil {
			return
		}
		all := p.AllParts()
		slices.SortFunc(all, func(a, b Part) int { return strings.Compare(a.Key, b.Key) })
		again, err := DecodePlace(p.Encode(), all)
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if twice := again.AllParts(); string(again.Encode()) != string(p.Encode()) || len(twice) != len(all) {
			t.Fatalf("%s with %q was written as %s with %q", p.Encode(), all, again.Encode(), twice)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	d, err := Load("bench.v1", []byte(`
QueryLanguage: CEL
StartAt: C
States:
  C: {Type: Choice, Choices: [{Condition: "{% vars.n == 1 %}", Next: P}], Default: P}
  P: {Type: Pass, Next: T}
  T: {Type: Task, Resource: pure, End: true}
`), actions)
	if err != nil {
		b.Fatal(err)
	}
	env := Env{Now: start, Message: func() any { return nil }}
	b.ReportAllocs()
	for b.Loop() {
		m := d.Next(d.Start(), json.RawMessage(`{"n":1}`), Event{}, env)
		if asked(m) == nil {
			b.Fatal(show(m))
		}
	}
}

// What an action tells beside its error is there for the Catch, and nothing is where it told nothing.
func TestACatchSeesTheDetailsOfAFailure(t *testing.T) {
	for given, want := range map[string]string{`{"block":7}`: `{"details":{"block":7},"error":"broken"}`, "": `{"details":{},"error":"broken"}`} {
		p := play(t, `
StartAt: Do
States:
  Do:
    Type: Task
    Resource: pure
    Catch:
      - ErrorEquals: [States.ALL]
        Assign: {details: "{% has(states.errorOutput.Details) ? states.errorOutput.Details : {} %}", error: "{% states.errorOutput.Error %}"}
        Next: Stop
    End: true
  Stop: {Type: Succeed}
`)
		event := Event{Kind: Failed, Error: "broken", Cause: "it broke"}
		if given != "" {
			event.Details = json.RawMessage(given)
		}
		if got := p.next(event); string(got.Ext) != want {
			t.Errorf("with the details %q the ext is %s", given, got.Ext)
		}
	}
}

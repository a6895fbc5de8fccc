package simulate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// drawer makes random definitions that end.
type drawer struct {
	t     *rapid.T
	count int
}

func (d *drawer) states(depth int) map[string]any {
	n := rapid.IntRange(1, 4).Draw(d.t, "states")
	names := make([]string, n)
	for i := range names {
		d.count++
		names[i] = fmt.Sprintf("S%d", d.count)
	}
	d.count++
	last := fmt.Sprintf("S%d", d.count)
	states := map[string]any{}
	for i, name := range names {
		state := d.state(name, depth)
		d.lead(state, append(names[i+1:], last))
		states[name] = state
	}
	states[last] = map[string]any{"Type": "Pass", "End": true}
	return map[string]any{"StartAt": names[0], "States": states}
}

func (d *drawer) state(name string, depth int) map[string]any {
	kinds := []string{"Pass", "Wait", "Task", "Choice", "Parallel", "Map"}
	if depth == 0 {
		kinds = kinds[:4]
	}
	state := map[string]any{"Type": rapid.SampledFrom(kinds).Draw(d.t, "type")}
	switch state["Type"] {
	case "Pass":
		state["Parameters"] = map[string]any{"in.$": "$", "state.$": "$$.State.Name", "id.$": "States.UUID()"}
		state["ResultPath"] = rapid.SampledFrom([]any{"$.p", nil}).Draw(d.t, "target")
		state["Assign"] = map[string]any{"x" + name + ".$": "$.id"}
	case "Wait":
		state["Seconds"] = number(rapid.IntRange(0, 5).Draw(d.t, "seconds"))
	case "Task":
		state["Resource"], state["ResultPath"] = "any", "$.t"
		parameters := map[string]any{"id.$": "States.UUID()", "attempt.$": "$$.State.RetryCount"}
		if rapid.Bool().Draw(d.t, "called back") {
			state["Resource"], parameters["token.$"] = "any.waitForTaskToken", "$$.Task.Token"
		}
		state["Parameters"] = parameters
		state["Retry"] = []any{map[string]any{"ErrorEquals": []any{"E"}, "MaxAttempts": number(rapid.IntRange(0, 3).Draw(d.t, "attempts"))}}
	case "Parallel":
		state["ResultPath"] = "$.f"
		state["Branches"] = []any{d.states(depth - 1), d.states(depth - 1)}
		state["Retry"] = []any{map[string]any{"ErrorEquals": []any{"E"}, "MaxAttempts": number(1)}}
	case "Map":
		state["ResultPath"], state["ItemsPath"] = "$.f", "$$.Execution.Input.list"
		state["MaxConcurrency"] = number(rapid.IntRange(0, 2).Draw(d.t, "concurrency"))
		state["ItemSelector"] = map[string]any{"item.$": "$$.Map.Item.Value"}
		state["ItemProcessor"] = d.states(depth - 1)
		if rapid.Bool().Draw(d.t, "tolerant") {
			state["ToleratedFailureCount"] = number(1)
		}
	}
	return state
}

func number(n int) json.Number { return json.Number(fmt.Sprint(n)) }

// lead says where a state leads: to the next, which a Choice may jump over and a Catch leads to as well.
func (d *drawer) lead(state map[string]any, rest []string) {
	if state["Type"] == "Choice" {
		state["Choices"] = []any{map[string]any{"Variable": "$$.Execution.Input.list[0]", "NumericEquals": number(rapid.IntRange(1, 2).Draw(d.t, "chosen")), "Next": rest[len(rest)-1]}}
		state["Default"] = rest[0]
		return
	}
	if (state["Type"] == "Task" || state["Type"] == "Parallel" || state["Type"] == "Map") && rapid.Bool().Draw(d.t, "catches") {
		state["Catch"] = []any{map[string]any{"ErrorEquals": []any{"States.ALL"}, "ResultPath": "$.e", "Next": rest[0]}}
	}
	state["Next"] = rest[0]
}

// TestCrashesChangeNothing: random workflows end alike with and without crashes, at every transition or at some, where the
// place is read again from what was stored of it; and what a Task is given is the same before and after the crash (I5).
func TestCrashesChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drawer := &drawer{t: t}
		raw, err := value.Encode(drawer.states(2), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		d, err := machine.Load("random.v1", raw, anyAction)
		if err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		crashes := rapid.SliceOfN(rapid.Bool(), 8, 8).Draw(t, "crashes")
		failures := rapid.SliceOfN(rapid.Bool(), 5, 5).Draw(t, "failures")
		calm, err := Execute(d, options(failures, nil))
		if err != nil {
			t.Fatal(err)
		}
		if outcome, err := Execute(d, options(failures, []bool{true})); err != nil {
			t.Fatal(err)
		} else {
			alike(t, raw, calm, outcome)
		}
		if outcome, err := Execute(d, options(failures, crashes)); err != nil {
			t.Fatal(err)
		} else {
			alike(t, raw, calm, outcome)
		}
	})
}

// alike compares how a workflow ended with how it ended in spite of crashes.
func alike(t *rapid.T, raw []byte, calm, stormy Result) {
	if string(calm.Done.Output) != string(stormy.Done.Output) || calm.Done.Error != stormy.Done.Error || calm.Took != stormy.Took || len(calm.Runs) != len(stormy.Runs) {
		t.Fatalf("without crashes: %s %s after %s, with: %s %s after %s: %s", calm.Done.Error, calm.Done.Output, calm.Took, stormy.Done.Error, stormy.Done.Output, stormy.Took, raw)
	}
	for i, r := range calm.Runs {
		if other := stormy.Runs[i]; r.State != other.State || string(r.Arguments) != string(other.Arguments) {
			t.Fatalf("run %d is %s %s without crashes, and %s %s with: %s", i, r.State, r.Arguments, other.State, other.Arguments, raw)
		}
	}
}

// options let a Task fail or not by what it is asked for, and the process die before every answer or before some.
func options(failures, crashes []bool) Options {
	asked := 0
	died := map[string]bool{}
	return Options{
		Input: json.RawMessage(`{"list": [1, {"a": 2}, "three"]}`),
		Mock: func(r machine.Run) (Outcome, error) {
			sum := r.Attempt
			for _, c := range []byte(r.State) {
				sum += int(c)
			}
			if failures[sum%len(failures)] {
				e := "E"
				return Outcome{Error: &e}, nil
			}
			o := Outcome{Output: r.Arguments}
			if r.Call > 0 {
				o.After = int64(sum % 3) // what an action would take is taken again after a crash
			}
			return o, nil
		},
		Crash: func(r machine.Run) bool {
			if asked++; len(crashes) == 0 || !crashes[asked%len(crashes)] {
				return false
			}
			key := fmt.Sprint(r.State, " ", r.Attempt)
			first := !died[key]
			died[key] = true
			return first
		},
	}
}

const everything = `{"StartAt": "A", "States": {
	"A": {"Type": "Pass", "Assign": {"x.$": "$.a"}, "Next": "F"},
	"F": {"Type": "Parallel", "ResultPath": "$.f", "Next": "C", "Retry": [{"ErrorEquals": ["E"]}], "Branches": [
		{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "x", "End": true, "Retry": [{"ErrorEquals": ["States.ALL"]}]}}},
		{"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$.l", "ToleratedFailureCount": 1, "ItemProcessor": {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": true}}}, "End": true}}}]},
	"C": {"Type": "Choice", "Choices": [{"Variable": "$.a", "StringMatches": "a*", "Next": "S"}], "Default": "B"},
	"S": {"Type": "Succeed"}, "B": {"Type": "Fail", "ErrorPath": "$.a"}}}`

// FuzzStoredPlace: whatever is stored as a message's place, the machine does not panic and comes to an end.
func FuzzStoredPlace(f *testing.F) {
	d, err := machine.Load("all.v1", []byte(everything), anyAction)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"v":1,"s":"F","p":"r","f":{"t":2,"s":2,"n":0,"b":[{"i":0,"p":{"v":1,"s":"T","p":"r","a":1}},{"i":1,"p":{"v":1,"s":"M","p":"r","f":{"t":1,"s":1,"b":[{"i":0,"p":{"s":"W","p":"w","u":9}}],"r":[null]}}}],"r":[null,null]}}`,
		`{"v":1,"s":"C","i":{"a":"abc"}}`, `{"v":1,"s":"F","f":{"t":-1,"s":-5,"b":[{"i":7}],"r":[]}}`, `{"v":1,"s":"T","f":{}}`, `{"v":1,"s":"F","p":"y","n":[9]}`,
	} {
		f.Add([]byte(seed), []byte(nil), []byte(nil), `{"a":"abc","l":[1]}`, byte(0))
	}
	for _, body := range []string{`{"a":"abc","l":[1]}`, `{"l":[]}`} { // the data of the place, and other data
		f.Add([]byte(`{"v":2,"s":"F","p":"r","f":{"t":2}}`), []byte(`{"p":{"s":"T","p":"r"}}`), []byte(`{"p":{"s":"M","p":"r","f":{"t":1}}}`), body, byte(1))
		f.Add([]byte(`{"v":2,"s":"F","f":{"t":2}}`), []byte(`{"p":{"s":"T","p":"r"}}`), []byte(`{"p":{"s":"M","f":{"t":1}}}`), body, byte(0))
	}
	f.Fuzz(func(t *testing.T, raw, one, two []byte, body string, kind byte) {
		var parts []machine.Part
		for i, data := range [][]byte{one, two} {
			if len(data) > 0 {
				parts = append(parts, machine.Part{Key: fmt.Sprintf("f/%d/", i), Data: data})
			}
		}
		place, err := machine.DecodePlace(raw, parts)
		if err != nil || !json.Valid([]byte(body)) {
			return
		}
		env := machine.Env{Body: json.RawMessage(body), Message: func() any { return nil }}
		m := d.Next(place, nil, machine.Event{Kind: machine.Kind(kind % 5), State: "F/0/T", Output: json.RawMessage(body), Error: "E"}, env)
		all := m.Place.AllParts()
		slices.SortFunc(all, func(a, b machine.Part) int { return strings.Compare(a.Key, b.Key) })
		if _, err := machine.DecodePlace(m.Place.Encode(), all); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzLoad: no text makes the loader, or a run of what it took, panic or go on for ever.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(everything), `{"a":"abc","l":[1]}`)
	f.Add([]byte("StartAt: A\nStates:\n  A: {Type: Pass, End: true, Result: {a: 1}}\n"), `{}`)
	f.Add([]byte("QueryLanguage: CEL\nStartAt: A\nStates: {A: {Type: Pass, Output: '{% states.input %}', End: true}}"), `1`)
	f.Fuzz(func(t *testing.T, source []byte, input string) {
		d, err := machine.Load("fuzz.v1", source, anyAction)
		if err != nil || !json.Valid([]byte(input)) || len(input) > 1000 {
			return
		}
		moves := 0
		_, err = Execute(d, Options{
			Input: json.RawMessage(input),
			Mock: func(r machine.Run) (Outcome, error) {
				return Outcome{Output: r.Arguments}, nil
			},
			Stop: func(machine.Move) bool { moves++; return moves > 20 },
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

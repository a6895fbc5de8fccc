package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
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
	states := map[string]any{}
	for i, name := range names {
		state := d.state(name, depth)
		if i+1 < n {
			state["Next"] = names[i+1]
		} else {
			state["End"] = true
		}
		states[name] = state
	}
	return map[string]any{"StartAt": names[0], "States": states}
}

func (d *drawer) state(name string, depth int) map[string]any {
	kinds := []string{"Pass", "Wait", "Task", "Parallel", "Map"}
	if depth == 0 {
		kinds = kinds[:3]
	}
	state := map[string]any{"Type": rapid.SampledFrom(kinds).Draw(d.t, "type")}
	switch state["Type"] {
	case "Pass":
		state["Parameters"] = map[string]any{"in.$": "$", "state.$": "$$.State.Name", "id.$": "States.UUID()"}
		state["ResultPath"] = rapid.SampledFrom([]any{"$.p", nil}).Draw(d.t, "target")
		state["Assign"] = map[string]any{"x" + name + ".$": "$.id"}
	case "Wait":
		state["Seconds"] = json.Number(fmt.Sprint(rapid.IntRange(0, 5).Draw(d.t, "seconds")))
	case "Task":
		state["Resource"], state["ResultPath"] = "any", "$.t"
		parameters := map[string]any{"id.$": "States.UUID()", "attempt.$": "$$.State.RetryCount"}
		if rapid.Bool().Draw(d.t, "called back") {
			state["Resource"], parameters["token.$"] = "any.waitForTaskToken", "$$.Task.Token"
		}
		state["Parameters"] = parameters
		state["Retry"] = []any{map[string]any{"ErrorEquals": []any{"E"}, "MaxAttempts": json.Number("5")}}
	case "Parallel":
		state["ResultPath"] = "$.f"
		state["Branches"] = []any{d.states(depth - 1), d.states(depth - 1)}
	case "Map":
		state["ResultPath"], state["ItemsPath"] = "$.f", "$$.Execution.Input.list"
		state["MaxConcurrency"] = json.Number(fmt.Sprint(rapid.IntRange(0, 2).Draw(d.t, "concurrency")))
		state["ItemSelector"] = map[string]any{"item.$": "$$.Map.Item.Value"}
		state["ItemProcessor"] = d.states(depth - 1)
	}
	return state
}

// TestCrashesChangeNothing: random workflows end alike with and without crashes between a step and its answer, as the place is
// stored and read at every step; and what a Task is given is the same before and after the crash (I5).
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
		failures := rapid.SliceOfN(rapid.Bool(), 4, 4).Draw(t, "failures")
		calm, errCalm := Execute(d, options(failures, nil))
		stormy, errStormy := Execute(d, options(failures, crashes))
		if err := errors.Join(errCalm, errStormy); err != nil {
			t.Fatal(err)
		}
		if string(calm.Done.Output) != string(stormy.Done.Output) || calm.Done.Error != stormy.Done.Error || calm.Took != stormy.Took {
			t.Fatalf("without crashes: %s %s, with: %s %s: %s", calm.Done.Error, calm.Done.Output, stormy.Done.Error, stormy.Done.Output, raw)
		}
		for i, r := range calm.Runs {
			if other := stormy.Runs[i]; r.State != other.State || string(r.Arguments) != string(other.Arguments) {
				t.Fatalf("run %d is %s %s without crashes, and %s %s with: %s", i, r.State, r.Arguments, other.State, other.Arguments, raw)
			}
		}
	})
}

func options(failures, crashes []bool) Options {
	runs, asked := 0, 0
	return Options{
		Input: json.RawMessage(`{"list": [1, {"a": 2}, "three"]}`),
		Mock: func(r machine.Run) (Outcome, error) {
			runs++
			if r.Attempt < 3 && failures[runs%len(failures)] {
				e := "E"
				return Outcome{Error: &e}, nil
			}
			return Outcome{Output: r.Arguments, After: int64(runs % 3)}, nil
		},
		Crash: func(machine.Run) bool {
			asked++
			return len(crashes) > 0 && asked%9 != 0 && crashes[asked%len(crashes)]
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
		f.Add([]byte(seed), `{"a":"abc","l":[1]}`, byte(0))
	}
	f.Fuzz(func(t *testing.T, raw []byte, body string, kind byte) {
		place, err := machine.DecodePlace(raw)
		if err != nil || !json.Valid([]byte(body)) {
			return
		}
		env := machine.Env{Body: json.RawMessage(body), Message: func() any { return nil }}
		m := d.Next(place, nil, machine.Event{Kind: machine.Kind(kind % 4), Output: json.RawMessage(body), Error: "E"}, env)
		if _, err := machine.DecodePlace(m.Place.Encode()); err != nil {
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

package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// TestConformance runs the project's own cases, written from the public specification, state by state.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("../testdata/cases/*.jsonl")
	if err != nil || len(files) < 5 {
		t.Fatalf("there are %d files of cases: %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
			var c Case
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatal(err)
			}
			t.Run(strings.TrimSuffix(filepath.Base(file), ".jsonl")+"/"+c.ID, func(t *testing.T) {
				if err := c.Check(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestAFailedCaseTellsTheFirstDifference(t *testing.T) {
	for want, text := range map[string]string{
		`$.a.b[1] is 2, want 3`:     `{"definition": {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}, "input": {"a": {"b": [1, 2]}}, "expect": {"status": "SUCCEEDED", "output": {"a": {"b": [1, 3]}}}}`,
		`$.b is 1, and should not`:  `{"definition": {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}, "input": {"b": 1}, "expect": {"status": "SUCCEEDED", "output": {}}}`,
		`want TIMED_OUT`:            `{"definition": {"StartAt": "S", "States": {"S": {"Type": "Fail", "Error": "E"}}}, "expect": {"status": "TIMED_OUT"}}`,
		`want FAILED E`:             `{"definition": {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}, "expect": {"status": "FAILED", "error": "E"}}`,
		`the error is "F"`:          `{"definition": {"StartAt": "S", "States": {"S": {"Type": "Fail", "Error": "F"}}}, "expect": {"status": "FAILED", "error": "E"}}`,
		`no mocked outcome`:         `{"definition": {"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "x", "End": true}}}, "expect": {"status": "SUCCEEDED", "output": {}}}`,
		`should have been refused`:  `{"kind": "validate", "definition": {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}, "expect": {"status": "INVALID"}}`,
		`leads to "T"`:              `{"kind": "validate", "definition": {"StartAt": "S", "States": {"S": {"Type": "Pass", "Next": "T"}}}, "expect": {"status": "VALID"}}`,
		`kind "other" is not known`: `{"kind": "other"}`,
		`it leads to B, want A`:     `{"kind": "test_state", "definition": {"Type": "Pass", "Next": "B"}, "expect": {"status": "SUCCEEDED", "output": {}, "nextState": "A"}}`,
	} {
		var c Case
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestOneStateAlone tries states out: also one in a branch, and requests that are wrong in themselves.
func TestOneStateAlone(t *testing.T) {
	for name, text := range map[string]string{
		"a state in a branch": `{"definition": {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": {"StartAt": "S", "States": {"S": {"Type": "Pass", "Result": 1, "End": true}}}, "End": true}}},
			"test_state": {"stateName": "S"}, "expect": {"status": "SUCCEEDED", "output": 1}}`,
		"a result and an error": `{"definition": {"Type": "Task", "Resource": "x", "End": true}, "test_state": {"mock": {"result": 1, "errorOutput": {"error": "E"}}}, "expect": {"status": "REJECTED"}}`,
		"branches, and no mock": `{"definition": {"Type": "Map", "ItemProcessor": {"StartAt": "S", "States": {"S": {"Type": "Pass", "End": true}}}, "End": true}, "expect": {"status": "REJECTED"}}`,
		"a mock of no Task":     `{"definition": {"Type": "Pass", "End": true}, "test_state": {"mock": {"result": 1}}, "expect": {"status": "REJECTED"}}`,
	} {
		c := Case{Kind: "test_state"}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.Expect.Status = "SUCCEEDED"; c.TestState.Mock != nil && c.TestState.Mock.ErrorOutput != nil && c.Check() == nil {
			t.Errorf("%s: it succeeds as well", name)
		}
	}
}

func TestDifference(t *testing.T) {
	for _, c := range []struct {
		got, want string
		loosely   bool
		same      bool
	}{
		{`{"a": 1.0}`, `{"a": 1}`, false, true},
		{`"{\"a\": 1}"`, `{"a": 1}`, false, true},
		{`{"a": 1}`, `"{\"a\":1}"`, false, true},
		{`"x"`, `"<uuid:1>"`, false, true},
		{`5`, `"<uuid:1>"`, false, false},
		{`"2026-01-01T00:00:00Z"`, `"date"`, false, false},
		{`"2026-01-01T00:00:00Z"`, `"date"`, true, true},
		{`"other"`, `"date"`, true, false},
		{`[1, 2]`, `[1]`, true, false},
		{`null`, `{}`, true, false},
	} {
		got, errGot := value.Decode([]byte(c.got))
		want, errWant := value.Decode([]byte(c.want))
		if err := errors.Join(errGot, errWant); err != nil {
			t.Fatal(err)
		}
		if d := Difference(got, want, c.loosely); (d == "") != c.same {
			t.Errorf("%s and %s, loosely %v: %q", c.got, c.want, c.loosely, d)
		}
	}
}

func TestTheClockIsVirtual(t *testing.T) {
	d, err := machine.Load("wait.v1", []byte(`{"StartAt": "T", "States": {
		"T": {"Type": "Task", "Resource": "x", "Retry": [{"ErrorEquals": ["E"], "IntervalSeconds": 10, "BackoffRate": 3, "MaxDelaySeconds": 20}], "Next": "W"},
		"W": {"Type": "Wait", "Seconds": 3600, "End": true}}}`), anyAction)
	if err != nil {
		t.Fatal(err)
	}
	e, c := "E", "cause"
	r, err := Execute(d, Options{Mock: Outcomes{"T": {{Error: &e, Cause: &c}, {Error: &e}, {Output: json.RawMessage(`1`)}}}.Mock()})
	if err != nil || r.Done == nil || !r.Done.Succeeded {
		t.Fatalf("got %+v, %v", r, err)
	}
	if want := 10*time.Second + 20*time.Second + time.Hour; r.Took != want {
		t.Errorf("it took %s, want %s", r.Took, want)
	}
}

// TestWhatNeverEndsIsStopped: also where each move is long, as thousands of branches go in circles.
func TestWhatNeverEndsIsStopped(t *testing.T) {
	circle := `"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "C"}, "C": {"Type": "Choice", "Choices": [{"Variable": "$.done", "IsPresent": true, "Next": "E"}], "Default": "W"}, "E": {"Type": "Succeed"}}`
	for want, source := range map[string]string{
		"100000 moves": `{` + circle + `}`,
		"visits":       `{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 5000, "ItemsPath": "$.list", "ItemProcessor": {` + circle + `}, "End": true}}}`,
	} {
		d, err := machine.Load("circle.v1", []byte(source), anyAction)
		if err != nil {
			t.Fatal(err)
		}
		input := `{}`
		if want == "visits" {
			input = `{"list": [{}` + strings.Repeat(",{}", 4999) + `]}`
		}
		if _, err = Execute(d, Options{Input: json.RawMessage(input)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestI5ArgumentsStayTheSame: what was drawn at random for a Task is there again when it is asked for again.
func TestI5ArgumentsStayTheSame(t *testing.T) {
	d, err := machine.Load("draw.v1", []byte(`{"StartAt": "T", "States": {
		"T": {"Type": "Task", "Resource": "x", "Parameters": {"key.$": "States.UUID()"}, "Retry": [{"ErrorEquals": ["E"]}], "Next": "U"},
		"U": {"Type": "Task", "Resource": "x", "Parameters": {"key.$": "States.UUID()"}, "Next": "T2"},
		"T2": {"Type": "Task", "Resource": "x", "Parameters": {"key.$": "States.UUID()"}, "End": true}}}`), anyAction)
	if err != nil {
		t.Fatal(err)
	}
	e, one := "E", json.RawMessage(`1`)
	r, err := Execute(d, Options{Mock: Outcomes{"T": {{Error: &e}, {Output: one}}, "U": {{Output: one}}, "T2": {{Output: one}}}.Mock()})
	if err != nil || len(r.Runs) != 4 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if a, b := string(r.Runs[0].Arguments), string(r.Runs[1].Arguments); a != b {
		t.Errorf("the second attempt has the arguments %s, the first had %s", b, a)
	}
	if a, b := string(r.Runs[2].Arguments), string(r.Runs[3].Arguments); a == b || a == string(r.Runs[0].Arguments) {
		t.Errorf("different Tasks drew the same: %s, %s", a, b)
	}
}

package machine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkNextByLanguage moves a small workflow: a Task's result, then Choice, Pass and the next Task.
func BenchmarkNextByLanguage(b *testing.B) {
	for language, source := range map[string]string{
		"JSONPath": `
StartAt: Ask
States:
  Ask: {Type: Task, Resource: pure, ResultPath: $.answer, Next: Which}
  Which:
    Type: Choice
    Choices: [{Variable: $.answer.amount, NumericGreaterThan: 1000, Next: Large}]
    Default: Small
  Small: {Type: Fail}
  Large: {Type: Pass, Result: {limit: high}, ResultPath: $.class, Next: Pay}
  Pay: {Type: Task, Resource: pure, Parameters: {to.$: $.to, amount.$: $.answer.amount}, End: true}
`,
		"CEL": `
QueryLanguage: CEL
StartAt: Ask
States:
  Ask: {Type: Task, Resource: pure, Next: Which}
  Which:
    Type: Choice
    Choices: [{Condition: "{% states.input.amount > 1000 %}", Next: Large}]
    Default: Small
  Small: {Type: Fail}
  Large: {Type: Pass, Next: Pay}
  Pay: {Type: Task, Resource: pure, Arguments: {amount: "{% states.input.amount %}"}, End: true}
`,
	} {
		b.Run(language, func(b *testing.B) {
			d, err := Load("bench.v1", []byte(source), actions)
			if err != nil {
				b.Fatal(err)
			}
			env := Env{Now: start, Body: json.RawMessage(`{"to":"Ann","amount":1}`), Message: func() any { return map[string]any{} }}
			place := d.Next(d.Start(), nil, Event{}, env).Place
			event := Event{Kind: Succeeded, Output: json.RawMessage(`{"amount":1500}`)}
			b.ReportAllocs()
			for b.Loop() {
				if m := d.Next(place, nil, event, env); len(m.Runs) != 1 || m.Runs[0].State != "Pay" {
					b.Fatalf("got %s", show(m))
				}
			}
		})
	}
}

// BenchmarkLoadByLanguage loads a definition of 50 states, half of them a Choice and half a Pass that computes.
func BenchmarkLoadByLanguage(b *testing.B) {
	for language, state := range map[string]string{
		"JSONPath": `"C%[1]d": {"Type": "Choice", "Choices": [{"And": [{"Variable": "$.a[%[1]d].b", "NumericEquals": %[1]d}, {"Variable": "$.t", "IsString": true}], "Next": "P%[1]d"}], "Default": "P%[1]d"},
			"P%[1]d": {"Type": "Pass", "Parameters": {"x.$": "States.Format('{} of {}', $.a, $.b[0].c)", "list": [1, 2, {"y.$": "$.y"}]}, "ResultPath": "$.p", "Next": "C%[2]d"},`,
		"CEL": `"C%[1]d": {"Type": "Choice", "Choices": [{"Condition": "{%% states.input.a[%[1]d].b == %[1]d && type(states.input.t) == string %%}", "Next": "P%[1]d"}], "Default": "P%[1]d"},
			"P%[1]d": {"Type": "Pass", "Output": {"x": "{%% states.input.a + ' of ' + states.input.b[0].c %%}", "list": [1, 2, {"y": "{%% states.input.y %%}"}]}, "Next": "C%[2]d"},`,
	} {
		b.Run(language, func(b *testing.B) {
			var states strings.Builder
			for i := range 25 {
				fmt.Fprintf(&states, state, i, i+1)
			}
			source := []byte(`{"QueryLanguage": "` + language + `", "StartAt": "C0", "States": {` + states.String() + `"C25": {"Type": "Succeed"}}}`)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Load("bench.v1", source, actions); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

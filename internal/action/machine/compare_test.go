package machine

import (
	"fmt"
	"strings"
	"testing"
)

func compared(t *testing.T, a, b string) Comparison {
	t.Helper()
	var defs []*Definition
	for _, source := range []string{a, b} {
		d, err := Load("test.v1", []byte(source), trial().Actions)
		if err != nil {
			t.Fatal(err)
		}
		defs = append(defs, d)
	}
	c, err := Compare(defs[0], defs[1])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const older = `
QueryLanguage: CEL
StartAt: Pay
States:
  Pay:
    Type: Task
    Resource: effect
    Arguments: {amount: "{% message.body.amount %}"}
    Retry: [{ErrorEquals: [busy]}]
    Catch: [{ErrorEquals: [States.ALL], Next: Hold}]
    Next: Each
  Hold: {Type: Task, Resource: park, Next: Pay}
  Each:
    Type: Map
    Items: "{% [1, 2] %}"
    ItemProcessor: {StartAt: Tell, States: {Tell: {Type: Task, Resource: pure, End: true}}}
    Next: Nap
  Nap: {Type: Wait, Seconds: 5, Next: Done}
  Done: {Type: Succeed}
`

func TestCompareFindsNothingInAnotherNotation(t *testing.T) {
	same := `{"Comment": "in JSON", "StartAt": "Pay", "QueryLanguage": "CEL", "States": {
		"Done": {"Type": "Succeed", "Comment": "well"},
		"Hold": {"Next": "Pay", "Resource": "park", "Type": "Task", "End": false},
		"Nap": {"Type": "Wait", "Seconds": 5, "Next": "Done", "QueryLanguage": "CEL"},
		"Pay": {"Type": "Task", "Resource": "effect", "Arguments": {"amount": "{%message.body.amount%}"}, "Next": "Each",
			"Retry": [{"ErrorEquals": ["busy"], "MaxAttempts": 3, "BackoffRate": 2.0, "Comment": "often"}], "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Hold"}]},
		"Each": {"Type": "Map", "Items": "{% [1, 2] %}", "Next": "Nap", "ItemProcessor": {"StartAt": "Tell", "States": {"Tell": {"Type": "Task", "Resource": "pure", "End": true}}}}}}`
	if c := compared(t, older, same); len(c.Changes)+len(c.Obstacles) > 0 {
		t.Errorf("got %+v", c)
	}
}

func TestCompare(t *testing.T) {
	newer := strings.NewReplacer("[busy]}", "[busy], MaxAttempts: 9}", "Resource: pure", "Resource: effect, Catch: [{ErrorEquals: [States.ALL], Next: End}]",
		"Next: End}]", "Next: Lost}]", "End: true}}}", "End: true}, Lost: {Type: Fail}}}",
		"  Hold: {Type: Task, Resource: park, Next: Pay}\n", "", "Next: Hold", "Next: Nap",
		"Nap: {Type: Wait, Seconds: 5, Next: Done}", "Nap: {Type: Pass, Assign: {napped: true}, Next: Done}").Replace(older)
	newer = strings.Replace(newer, "Next: End}]", "Next: Lost}]", 1)
	c := compared(t, older, newer)
	var got []string
	for _, change := range c.Changes {
		got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s: %s → %s", change.Kind, change.State, change.Field, change.From, change.To), " "))
	}
	want := []string{
		`added Each/*/Lost :  → Fail`,
		`changed Each/*/Tell Catch:  → [{"ErrorEquals":["States.ALL"],"Next":"Lost"}]`,
		`changed Each/*/Tell Resource: "pure" → "effect"`,
		`removed Hold : Task →`,
		`changed Nap Assign:  → {"napped":true}`,
		`changed Nap Seconds: 5 →`,
		`changed Nap Type: "Wait" → "Pass"`,
		`changed Pay Catch[0].Next: "Hold" → "Nap"`,
		`changed Pay Retry[0].MaxAttempts: 3 → 9`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for state, why := range map[string]string{"Pay": "", "Done": "", "Each": "", "Hold": "not there", "Nap": "its type was Wait and is Pass", "Each/*/Tell": "its action was pure and is effect"} {
		if got := c.Blocks(state); (why == "") != (got == "") || !strings.Contains(got, why) {
			t.Errorf("%s: got %q, want %q", state, got, why)
		}
	}
}

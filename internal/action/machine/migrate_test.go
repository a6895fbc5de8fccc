package machine

import (
	"encoding/json"
	"strings"
	"testing"
)

const paysThenWaits = `
StartAt: Pay
States:
  Pay: {Type: Task, Resource: effect, Catch: [{ErrorEquals: [States.ALL], Next: Done}], Next: Each}
  Each:
    Type: Map
    Items: "{% [1, 2] %}"
    ItemProcessor:
      StartAt: Sleep
      States:
        Sleep: {Type: Wait, Seconds: 60, Next: Look}
        Look: {Type: Task, Resource: pure, End: true}
    Next: Done
  Done: {Type: Succeed}
`

// TestBars: a message that has paid and waits in the iterations of a Map goes on where these are, and nowhere else.
func TestBars(t *testing.T) {
	p := play(t, paysThenWaits)
	paying := p.move.Place
	p.next(Event{Kind: Succeeded, Output: json.RawMessage(`{}`)})
	waiting := p.move.Place
	if paying.State != "Pay" || waiting.State != "Each" || waiting.Fork == nil {
		t.Fatalf("the message stands in %s, then in %s", paying.State, waiting.State)
	}
	for _, c := range []struct {
		what, old, new  string
		paying, waiting string // what bars the way, "" for nothing
	}{
		{"nothing", "Each", "Each", "", ""},
		{"a longer wait", "Seconds: 60", "Seconds: 90", "", ""},
		{"a state more ahead", "Next: Look}", "Next: Blink}\n        Blink: {Type: Pass, Next: Look}", "", ""},
		{"the iteration's state is gone", "Sleep", "Rest", "", "it stands in Each/*/Sleep"},
		{"it is of another type", "Type: Wait, Seconds: 60", "Type: Pass", "", "it stands in Each/*/Sleep"},
		{"the Map is gone", "Each", "Every", "", "it stands in Each"},
		{"the effect has another name", "Pay", "PayOut", "it stands in Pay", "it has begun the effect of Pay"},
		{"the effect is another one", "Pay: {Type: Task, Resource: effect", "Pay: {Type: Task, Resource: pure", "it stands in Pay", "it has begun the effect of Pay"},
	} {
		other := load(t, strings.ReplaceAll(paysThenWaits, c.old, c.new))
		found, err := Compare(p.def, other)
		if err != nil {
			t.Fatal(err)
		}
		for place, want := range map[*Place]string{&paying: c.paying, &waiting: c.waiting} {
			if got := p.def.Bars(*place, found); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
				t.Errorf("%s: a message in %s is barred by %q; want %q", c.what, place.State, got, want)
			}
		}
	}
}

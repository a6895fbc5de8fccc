package workflows_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/workflows"
)

func shipped(t *testing.T, name string) *machine.Definition {
	t.Helper()
	actions, err := step.NewRegistry(step.Validate(nil, nil), step.Authorize(nil, nil), step.Sign(nil, nil, nil), step.Send(nil),
		step.Confirm(nil), step.Record(), step.Archive(), step.Park())
	if err != nil {
		t.Fatal(err)
	}
	source, err := workflows.FS().ReadFile(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	def, err := machine.Load(name, source, actions.Effect)
	if err != nil {
		t.Fatal(err)
	}
	return def
}

// fails lets a state fail many times in the same way; it gives the state where the message then stands.
func fails(def *machine.Definition, state, code string) string {
	place, now := machine.Place{State: state, Phase: machine.Running, Attempt: 1}, time.Now()
	ext := json.RawMessage(`{"transaction": {}}`)
	for range 10_000 { // half a minute apart on average: three days
		event := machine.Event{Kind: machine.Failed, Error: code, Cause: "no"}
		move := def.Next(place, ext, event, machine.Env{Now: now, Message: func() any { return nil }})
		if place = move.Place; move.Wait.IsZero() {
			break
		}
		now = move.Wait
		place = def.Next(place, ext, machine.Event{}, machine.Env{Now: now, Message: func() any { return nil }}).Place
	}
	return place.State
}

// TestI12WhatIsSignedIsNotGivenUp: a message parked with its nonce taken would hold up all that its wallet signs afterwards.
func TestI12WhatIsSignedIsNotGivenUp(t *testing.T) {
	for _, name := range []string{"transfer.v1", "call.v1"} {
		def := shipped(t, name)
		for at, want := range map[string]string{
			"Sign chain-unreachable": "Sign", "Sign internal": "Hold", "Sign policy-denied": "Record", "Sign transaction-refused": "Hold",
			"Sign etcd-unreachable": "Sign", "Sign key-manager-unreachable": "Sign", "Sign key-manager-stopping": "Sign",
			"Sign address-invalid": "Record",
			"Send storage-failed":  "Send", "Send storage-full": "Send", "Send internal": "Hold",
			"Confirm storage-failed": "Confirm", "Confirm key-foreign-use": "Hold", "Confirm internal": "Hold",
			"Confirm execution-reverted": "Record", "Confirm transaction-cancelled": "Record", "Confirm transaction-superseded": "Record",
		} {
			var state, code string
			if _, err := fmt.Sscan(at, &state, &code); err != nil {
				t.Fatal(err)
			}
			if got := fails(def, state, code); got != want {
				t.Errorf("%s: %s leads to %s; want %s", name, at, got, want)
			}
		}
	}
}

package step_test

import (
	"context"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/policy"
)

// counter is a register that counts how often it is asked for a client.
type counter struct {
	disabled map[string]bool
	asked    map[string]int
}

func (c *counter) Get(_ context.Context, id string) (clients.Client, error) {
	c.asked[id]++
	return clients.Client{ID: id, Disabled: c.disabled[id]}, nil
}

// TestI23ABatchReadsAClientOnce: what is decided together is decided on one read of each client, and every batch reads anew: who was
// disabled since the last one is denied.
func TestI23ABatchReadsAClientOnce(t *testing.T) {
	rules, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	register := &counter{disabled: map[string]bool{}, asked: map[string]int{}}
	gate := step.NewGate(rules, register, drawer{}, time.Now)
	o := &office{decisions: decisions{&ledger{}}}
	authorize := step.Authorize(gate, o)
	tasks := make([]step.Task, 10)
	for i := range tasks {
		tasks[i] = o.order(time.Now().Add(time.Hour))
		tasks[i].Record.Type, tasks[i].Record.Body = "note.v1", []byte(`{}`)
		tasks[i].Record.Client = []string{"cli_a", "cli_b"}[i%2]
	}
	for round, b := range []string{"", "client-disabled", ""} {
		register.disabled["cli_b"] = b != ""
		for i, out := range authorize.Run(t.Context(), tasks) {
			if want := []string{"", b}[i%2]; code(out.Err) != want {
				t.Errorf("batch %d, task %d: %v, want %q", round+1, i, out.Err, want)
			}
		}
		if register.asked["cli_a"] != round+1 || register.asked["cli_b"] != round+1 {
			t.Errorf("after %d batches the register was asked %v", round+1, register.asked)
		}
	}
	if authorize.Batch < len(tasks) {
		t.Errorf("authorize takes %d tasks at once", authorize.Batch)
	}
}

package step

import (
	"context"
	"encoding/json"
)

// Record writes the receipt: what came of the instruction, gathered from the ext, for whoever reads the archive.
func Record() Action {
	return Action{Name: "record", Run: Each(func(_ context.Context, task Task) (any, error) {
		var ext struct {
			Failure      json.RawMessage `json:"failure"`
			Transaction  json.RawMessage `json:"transaction"`
			Confirmation json.RawMessage `json:"confirmation"`
		}
		if task.Record.Ext != nil {
			if err := json.Unmarshal(task.Record.Ext, &ext); err != nil {
				return nil, err
			}
		}
		r := receipt{Outcome: "done", Digest: task.Record.Digest.Hex(), Failure: ext.Failure, Transaction: ext.Transaction, Confirmation: ext.Confirmation}
		if ext.Failure != nil {
			r.Outcome = "refused"
		}
		return r, nil
	})}
}

// receipt is what record answers.
type receipt struct {
	Outcome      string          `json:"outcome"` // "done" or "refused"
	Digest       string          `json:"digest"`  // of what the client signed
	Failure      json.RawMessage `json:"failure,omitempty"`
	Transaction  json.RawMessage `json:"transaction,omitempty"`
	Confirmation json.RawMessage `json:"confirmation,omitempty"`
}

// Archive asks that the commit that ends the workflow moves the message into the archive.
func Archive() Action {
	return Action{Name: "archive", Run: func(_ context.Context, tasks []Task) []Outcome {
		out := make([]Outcome, len(tasks))
		for i := range out {
			out[i].Archive = true
		}
		return out
	}}
}

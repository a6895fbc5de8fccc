package step

import (
	"context"
	"encoding/json"

	"github.com/avalhq/aval/internal/problem"
)

// Park makes a message a dead letter: it stays where it is, with the reason that Arguments give, until an operator resumes
// it; then it goes on.
func Park() Action {
	return Action{Name: "park", Parks: true, Run: Each(func(_ context.Context, task Task) (any, error) {
		if task.Resumed {
			return nil, nil
		}
		var args struct {
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(task.Arguments, &args); err != nil || args.Reason == "" {
			args.Reason = "the workflow asks for an operator"
		}
		return nil, problem.New(problem.Conflict, "parked", "%s", args.Reason)
	})}
}

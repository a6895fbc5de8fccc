package client

import (
	"context"
	"encoding/json"
	"fmt"
)

// SucceedTask answers a task token that a workflow handed out: output, encoded as JSON, is the task's result. The same answer
// again is no error, so it is repeated when the connection fails. Its refusals have the codes task-token-unknown,
// task-answered (another answer was first) and task-over (it came too late, or the attempt was given up).
func (c *Client) SucceedTask(ctx context.Context, token string, output any) error {
	raw, err := json.Marshal(output)
	if err != nil {
		return fmt.Errorf("encode the output of the task: %w", err)
	}
	return c.post(ctx, "/v1/tasks/success", map[string]any{"token": token, "output": json.RawMessage(raw)}, nil, true)
}

// FailTask answers a task token: the task has failed, with the error name that the workflow's Retry and Catch compare, and
// a sentence for people. It is repeated and refused as SucceedTask is.
func (c *Client) FailTask(ctx context.Context, token, name, cause string) error {
	return c.post(ctx, "/v1/tasks/failure", map[string]any{"token": token, "error": name, "cause": cause}, nil, true)
}

// HeartbeatTask says that a task is still being worked on, where its workflow wants to hear of that.
func (c *Client) HeartbeatTask(ctx context.Context, token string) error {
	return c.post(ctx, "/v1/tasks/heartbeat", map[string]any{"token": token}, nil, true)
}

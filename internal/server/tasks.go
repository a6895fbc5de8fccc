package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Who has a task token may answer its task, and has to say who it is besides: a token that got lost is of no use to who
// has nothing else, and the history names who answered.
func (s *Server) taskRoutes() {
	for _, r := range []struct {
		id, path, summary string
		register          func(huma.Operation)
	}{
		{"succeed-task", "/v1/tasks/success", "Answer a task token: the task went well", func(op huma.Operation) { route(s, op, s.succeedTask) }},
		{"fail-task", "/v1/tasks/failure", "Answer a task token: the task failed", func(op huma.Operation) { route(s, op, s.failTask) }},
		{"heartbeat-task", "/v1/tasks/heartbeat", "Say that a task is still being worked on", func(op huma.Operation) { route(s, op, s.heartbeatTask) }},
	} {
		op := acting(r.id, r.path, "tasks", r.summary, byHolder)
		op.DefaultStatus = http.StatusNoContent
		op.Description = "The same answer again is no error, at any time. Another one is refused (409), as is one that comes too late (410)."
		r.register(op)
	}
}

// TaskToken is what a workflow handed out.
type TaskToken struct {
	Token string `json:"token" minLength:"1" maxLength:"4096" doc:"The task token, as it was handed out. Who has it can answer: keep it secret."`
}

// TaskSuccess is a good answer.
type TaskSuccess struct {
	TaskToken
	Output json.RawMessage `json:"output,omitempty" doc:"The task's result, any JSON; null where there is none."`
}

// TaskFailure is a bad answer.
type TaskFailure struct {
	TaskToken
	Error string `json:"error,omitempty" maxLength:"256" doc:"The error name that Retry and Catch of the workflow compare."`
	Cause string `json:"cause,omitempty" maxLength:"32768" doc:"What happened, for people."`
}

func (s *Server) succeedTask(ctx context.Context, in *body[TaskSuccess]) (*struct{}, error) {
	output := in.Body.Output
	if output == nil {
		output = json.RawMessage("null")
	}
	return nil, s.Tasks.Succeed(ctx, in.Body.Token, callerOf(ctx).Subject, output)
}

func (s *Server) failTask(ctx context.Context, in *body[TaskFailure]) (*struct{}, error) {
	return nil, s.Tasks.FailTask(ctx, in.Body.Token, callerOf(ctx).Subject, in.Body.Error, in.Body.Cause)
}

func (s *Server) heartbeatTask(ctx context.Context, in *body[TaskToken]) (*struct{}, error) {
	return nil, s.Tasks.Heartbeat(ctx, in.Body.Token)
}

package guarantee

import (
	"context"
	"encoding/json"
	"time"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/tasktoken"
)

// Call is one attempt of a Task that waits until its task token is answered.
type Call struct {
	Number    int           // within the message; never used again
	State     string        // the Task's, with the way into its branch
	Opened    time.Time     // when it was committed that the token would be handed out
	Until     time.Time     // when the answer comes too late
	Heartbeat time.Duration // how often something must be heard; 0: need not
	Heard     int64         // how often something came in
	Beat      time.Time     // the last heartbeat; zero: none came
	Answer    *Answer       // nil: none came
}

// Answer is what a call was answered with, once.
type Answer struct {
	Failed bool            `json:"failed,omitempty"`
	Output json.RawMessage `json:"output,omitempty"` // unless it failed: the Task's result
	Error  string          `json:"error,omitempty"`  // the error name that Retry and Catch compare
	Cause  string          `json:"cause,omitempty"`
	By     string          `json:"by,omitempty"` // the subject of who answered; not part of what is the same answer
}

// Closing ends a call.
type Closing struct {
	Number int
	Seen   int64 // Heard when it was decided
}

// Calls is the port to what comes in for Tasks that wait for an answer. Store's Commit opens and closes calls.
//
// Durability: as Store. Ordering: of an answer and of a commit that closes the call, one is first and the other is refused;
// linearizable per call. Consistency: an answer makes its message due in the same commit; a message that is parked or in
// hand is due when it is not any more. Its conformance suite is guaranteetest.
type Calls interface {
	// Answer stores the answer to a call. The same answer again changes nothing and is no error, at any time. Its refusals
	// are ErrTaskUnknown, ErrTaskAnswered and ErrTaskOver.
	Answer(ctx context.Context, id message.ID, number int, state string, a Answer, at time.Time) error
	// Beat notes a heartbeat for a call that is open and not answered. Its refusals are those of Answer.
	Beat(ctx context.Context, id message.ID, number int, state string, at time.Time) error
	// Heard gives those open calls of the messages for which something came in.
	Heard(ctx context.Context, ids []message.ID) (map[message.ID][]Call, error)
	// Open gives all open calls of a message, in their order.
	Open(ctx context.Context, id message.ID) ([]Call, error)
}

// maxAnswer bounds what a task token is answered with; the language allows as much as a state's output.
const maxAnswer = 256 << 10

// Succeed answers a task token: the Task goes on with output as its result.
func (s *Service) Succeed(ctx context.Context, token, by string, output json.RawMessage) error {
	switch {
	case !json.Valid(output):
		return problem.New(problem.Invalid, "task-output-invalid", "the output of the task is not JSON; send any JSON value, null for none")
	case len(output) > maxAnswer:
		return problem.New(problem.Unprocessable, "task-output-too-large", "the output of the task has %d bytes; %d are allowed", len(output), maxAnswer)
	}
	return s.answer(ctx, token, Answer{Output: output, By: by})
}

// FailTask answers a task token: the Task has failed with an error name and a sentence.
func (s *Service) FailTask(ctx context.Context, token, by, name, cause string) error {
	if len(name)+len(cause) > maxAnswer {
		return problem.New(problem.Unprocessable, "task-output-too-large", "error and cause of the task have %d bytes; %d are allowed", len(name)+len(cause), maxAnswer)
	}
	return s.answer(ctx, token, Answer{Failed: true, Error: name, Cause: cause, By: by})
}

func (s *Service) answer(ctx context.Context, token string, a Answer) error {
	c, err := s.read(token)
	if err != nil {
		return err
	}
	return s.Calls.Answer(ctx, c.Message, c.Number, c.State, a, s.Now())
}

// Heartbeat says that a task token is still being worked on.
func (s *Service) Heartbeat(ctx context.Context, token string) error {
	c, err := s.read(token)
	if err != nil {
		return err
	}
	return s.Calls.Beat(ctx, c.Message, c.Number, c.State, s.Now())
}

func (s *Service) read(token string) (tasktoken.Call, error) {
	c, ok := s.Tokens.Read(token)
	if !ok {
		return c, ErrTaskUnknown
	}
	return c, nil
}

// abandon closes the calls that an operator's act gives up.
func (s *Service) abandon(ctx context.Context, t *Transition, start Start) error {
	if len(start.Abandoned) == 0 {
		return nil
	}
	open, err := s.Calls.Open(ctx, t.ID)
	if err != nil {
		return err
	}
	seen := map[int]int64{}
	for _, c := range open {
		seen[c.Number] = c.Heard
	}
	for _, number := range start.Abandoned {
		t.Close = append(t.Close, Closing{Number: number, Seen: seen[number]})
	}
	return nil
}

package guarantee

import "github.com/avalhq/aval/internal/problem"

// The refusals of a Store, compared with errors.Is.
var (
	// ErrStale: the message has moved on since the transition was decided (I4).
	ErrStale = problem.New(problem.Conflict, "message-moved", "the message has moved on since it was read; read it again")
	// ErrFinal: a terminal state has no way out (I4).
	ErrFinal = problem.New(problem.Conflict, "message-final", "the message has reached its final state and does not change any more")
	// ErrUnknown: no such message, or not this client's (A7, A21).
	ErrUnknown = problem.New(problem.NotFound, "message-unknown", "there is no such message; ids are issued by POST /v1/message-ids")
	// ErrExpired: the id was issued and not used in time (A8).
	ErrExpired = problem.New(problem.Gone, "message-id-expired", "the message id has expired; ask for a new one and sign again")
	// ErrTaskUnknown: no Task ever gave this task token out.
	ErrTaskUnknown = problem.New(problem.NotFound, "task-token-unknown", "no task gave this task token out; send it whole, as it was handed out")
	// ErrTaskAnswered: a call is answered once.
	ErrTaskAnswered = problem.New(problem.Conflict, "task-answered", "this task token was answered before, and otherwise; the first answer counts")
	// ErrTaskOver: an answer came too late, or for an attempt that was given up.
	ErrTaskOver = problem.New(problem.Gone, "task-over", "the task does not wait for this task token any more: it ran out of time, or was given up")
	// ErrReused: the id has been used for other bytes (A2).
	ErrReused = problem.New(problem.Conflict, "message-id-reused", "this message id was already used for another message; ask for a new one")
)

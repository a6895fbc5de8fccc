package signer

import "github.com/avalhq/aval/internal/problem"

// The refusals of Decisions and Signer besides those of package key, compared with errors.Is.
var (
	// ErrUnreconciled: the key's nonce was never compared with the chain, so none can be assigned.
	ErrUnreconciled = problem.New(problem.Conflict, "key-unreconciled", "the nonce of the key was never compared with the chain")
	// ErrUndecided: bytes were offered for what nobody decided to sign (A28).
	ErrUndecided = problem.New(problem.Conflict, "decision-unknown", "nobody decided to sign this")
	// ErrMismatch: the transaction is for another chain or sender than the key's, or cannot be signed.
	ErrMismatch = problem.New(problem.Invalid, "transaction-unfit", "the transaction does not fit the key")
	// ErrRefused: the request of the step to sign was refused, so nothing is decided for it until it asks again.
	ErrRefused = problem.New(problem.Conflict, "signing-refused", "the request to sign was refused")
	// ErrUnanswered: the request to sign is committed, and no signing worker has answered it yet.
	ErrUnanswered = problem.New(problem.Unavailable, "signing-unanswered", "the request waits for a signing worker")
	// ErrUnasked: a record of a topic names a step that nobody has asked to sign (A28).
	ErrUnasked = problem.New(problem.Forbidden, "request-unknown", "nobody has asked to sign this")
)

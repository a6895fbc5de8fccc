package key

import "github.com/avalhq/aval/internal/problem"

// The refusals of a Registry, compared with errors.Is. The errors returned say more: which key, since when, why.
var (
	// ErrUnknown: no such key, or no key in the pool.
	ErrUnknown = problem.New(problem.NotFound, "key-unknown", "there is no such key")
	// ErrExists: the id or the address is registered already.
	ErrExists = problem.New(problem.Conflict, "key-exists", "the key is registered already")
	// ErrBusy: another worker held the key for as long as the caller could wait.
	ErrBusy = problem.New(problem.Unavailable, "key-busy", "the key is in use; try again later")
	// ErrQuarantined: the key's last holder failed and its nonce has not been reconciled with the chain yet (I10).
	ErrQuarantined = problem.New(problem.Unavailable, "key-quarantined", "the key is set aside until its nonce is reconciled with the chain")
	// ErrStale: the lease has been ended or overtaken (I8, I9, A15).
	ErrStale = problem.New(problem.Conflict, "lease-stale", "the lease on the key has ended; take a new one")
	// ErrForeignUse: the chain has seen nonces of this key that Aval never decided.
	ErrForeignUse = problem.New(problem.Conflict, "key-foreign-use", "the key was used by something else than Aval")
	// ErrInvalid: the request itself makes no sense.
	ErrInvalid = problem.New(problem.Invalid, "key-request-invalid", "a lease needs a holder, a time to live, and either a key or a chain and pool")
)

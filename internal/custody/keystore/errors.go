package keystore

import "github.com/avalhq/aval/internal/problem"

// The refusals of a Store, compared with errors.Is. The errors returned say more.
var (
	// ErrUnknown: the store has no such key.
	ErrUnknown = problem.New(problem.NotFound, "key-unknown", "the key store has no such key")
	// ErrExists: the store has a key of that id already; it is never replaced.
	ErrExists = problem.New(problem.Conflict, "key-exists", "the key store has a key of that id already")
	// ErrLocked: the store cannot be opened with this passphrase or key-encryption key.
	ErrLocked = problem.New(problem.Unavailable, "keystore-locked", "the key store cannot be opened")
	// ErrDamaged: a file of the store is not what the store wrote.
	ErrDamaged = problem.New(problem.Internal, "keystore-damaged", "a file of the key store is damaged")
	// ErrDigest: only 32-byte digests are signed.
	ErrDigest = problem.New(problem.Invalid, "digest-invalid", "a key signs digests of 32 bytes and nothing else")
)

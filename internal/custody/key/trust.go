package key

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// Entry is something that was done about the trust in a key.
type Entry struct {
	What  string // EntryDistrusted or EntryAcknowledged
	By    string
	Why   string
	Nonce uint64 // how many nonces the chain had spent, as far as known
	At    time.Time
}

// What entries say.
const (
	EntryDistrusted   = "distrusted"
	EntryAcknowledged = "acknowledged"
)

// ErrUnacknowledged says that an operator has named another number of spent nonces than the chain shows, or there is nothing to
// acknowledge.
var ErrUnacknowledged = problem.New(problem.Conflict, "key-not-acknowledged", "the number of spent nonces is not what the chain shows")

// Trust is the port to whether a key may be used at all, beside its Registry. What the chain shows of a key that Aval did not
// decide is never explained away: only an operator can say that it is known and accepted, and that is kept for ever.
//
// Durability: what returned nil is on stable storage. Ordering: entries keep the order in which they were made. Consistency:
// from the moment that Distrust returns no decision is made with the key, until Acknowledge. Refusals: key-unknown,
// key-not-acknowledged. Fault points, ".before" and ".after" each: keys.distrust, keys.acknowledge. Its conformance suite is
// keytest.
type Trust interface {
	// Distrust quarantines a key until Acknowledge; Reconcile does not free it. A key that is not trusted keeps its first reason.
	Distrust(ctx context.Context, id, by, why string) error
	// Acknowledge lets a key be used again: the chain has spent so many of its nonces, whoever spent them, and the next one to
	// decide is not below that. It has to be the highest number that Reconcile was ever shown.
	Acknowledge(ctx context.Context, id string, chainNonce uint64, by, why string) error
	// Entries gives what was done about the trust in a key, in order.
	Entries(ctx context.Context, id string) ([]Entry, error)
}

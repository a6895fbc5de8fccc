package key

import "context"

// Mirror is the port from a Registry to what the table of decisions keeps of its keys, where the two are not in one database. The
// table has the last word: about the next nonce, and about the fences that it has seen.
//
// Durability: what returned nil is on stable storage. Ordering: fences and nonces only grow; what is noted under a lower fence than
// the highest one seen changes nothing. Consistency: decisions and notes of a key follow one another. After a key was noted as
// quarantined nothing is decided under that fence or a lower one, until a later lease decides; a lease with a higher fence exists
// only when the registry has freed the key since. Fault points, ".before" and ".after": keys.note. Its conformance suite is keytest.
type Mirror interface {
	// Keys gives what the table has of the keys with the ids, of all keys without ids, by id: identity, the highest fence seen
	// with its holder, and the next nonce, as far as decided or noted.
	Keys(ctx context.Context, ids ...string) ([]Key, error)
	// Note keeps what the registry says of a key now: whether it is quarantined and why, and that its next nonce is not lower.
	Note(ctx context.Context, k Key) error
}

// Package verify is tx-verify: it compares every signed transaction with what was decided to be signed. It trusts neither the
// signers nor the sender, and uses nothing of theirs: it recovers the sender from the bytes, and looks in the system of record for
// the decision at that place, which is a chain, an address and a nonce.
//
//	bytes ──▶ decode, recover the sender ──▶ the transaction decided at that place ──▶ the attempt that these bytes are of
//	   │ cannot be read                         │ none                                     │ another intent, or second bytes
//	   ▼                                        ▼                                          ▼
//	unreadable                               orphan                                     double      (same intent, other price: altered)
//
// Judge and Attest are that comparison, pure functions. A Verifier does it for whoever shows it bytes: the topic of signed
// transactions, record by record, and the system of record itself, all of it (Compare) or what is new (Sweep). A verdict
// is recorded once by the hash of the bytes (I17), and never changes: what was good, and is stored otherwise today, is told by
// Compare as altered.
//
// What it does not do: it stops nobody. The sender compares for itself before it sends (A28), and the chain's own view of a key
// is the keeper's matter (package transaction), which halts a key that somebody else uses.
package verify

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
)

// Word is what was found.
type Word string

// The verdicts about signed bytes.
const (
	Good       Word = "good"
	Orphan     Word = "orphan"     // nobody decided a transaction at its place, or its bytes were never stored
	Double     Word = "double"     // the place was decided for another intent, or the attempt has other bytes
	Altered    Word = "altered"    // what is signed and what is decided differ
	Unreadable Word = "unreadable" // no transaction that Aval could have made
)

// What else a comparison can find.
const (
	Unsigned Word = "unsigned" // decided, and without bytes for longer than signing takes
	Unseen   Word = "unseen"   // stored, and not on the topic of signed transactions
)

// Place is where a chain lets one transaction be.
type Place struct {
	Chain   string
	Address string
	Nonce   uint64
}

// Verdict is what was found about one set of signed bytes.
type Verdict struct {
	Hash    string // of the transaction; of the bytes, after "sha256:", where they are none
	Word    Word
	Place   Place       // as far as the bytes say it
	Key     string      // whose place it is; "" when it is nobody's
	Step    signer.Step // what was decided there
	Attempt int         // of the decision, which the bytes are of
	Why     string      // one sentence; "" when good
	Source  string      // where the bytes were seen: FromTopic or FromRecord
	At      time.Time   // when it was recorded
}

// Where bytes are seen.
const (
	FromTopic  = "topic"
	FromRecord = "record"
)

// Seen are bytes to be judged, of one chain.
type Seen struct {
	Chain string
	Raw   []byte
}

// Verdicts is the port to what was found.
//
// Durability: what returned nil is on stable storage. Ordering: Findings go by the order of recording. Consistency: one verdict a
// hash, for ever; the first one recorded stays, and Record tells whether it was this one, in the same transaction (I17), so
// that of two verifiers that find the same one alone raises the alarm. An error that is no refusal leaves the outcome unknown; each
// method can be repeated. Fault points, ".before" and ".after": verdicts.record. Its conformance suite is verifytest.
type Verdicts interface {
	// Record keeps verdicts and gives those that were not known before, in order.
	Record(ctx context.Context, verdicts []Verdict) (fresh []Verdict, err error)
	// Good gives the good verdicts on the nonces of a key from one to another, both included, by nonce and attempt.
	Good(ctx context.Context, key string, from, to uint64) ([]Verdict, error)
	// Findings gives verdicts other than good, recorded after that position, at most limit of them, and the position after them.
	Findings(ctx context.Context, after int64, limit int) (some []Verdict, next int64, err error)
	// Unjudged gives stored signed bytes that are no older and no younger than that and whose hash has no verdict, oldest
	// first. Their age is by the database's clock.
	Unjudged(ctx context.Context, oldest, youngest time.Duration, limit int) ([]Stored, error)
}

// Stored are signed bytes as the record has them.
type Stored struct {
	Seen
	Hash    string // as it is stored
	Attempt int
}

// Decoder reads the bytes of a chain; chain.Codec does.
type Decoder interface {
	// Address gives the canonical notation of an address.
	Address(s string) (string, error)
	// Decode reads signed bytes and recovers their sender.
	Decode(raw []byte) (chain.Decoded, error)
}

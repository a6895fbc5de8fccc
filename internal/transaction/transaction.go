// Package transaction is the transaction manager: which transactions are open on each lane, and what has to be done so that
// each of them is mined. Never stuck, never twice.
//
// A lane is a key on a chain. Its transactions are mined in the order of their nonces, so one that cannot be mined holds up
// all that follow. A decision (package signer) gives a transaction its nonce for good; from then on the nonce belongs to
// this package until the chain has spent it:
//
//	decided ──▶ signed ──▶ sent ──▶ mined ──▶ confirmed ──▶ settled
//	                        ▲         │           │
//	                        └─────────┴───────────┘  a reorganisation takes it back
//
// A nonce can have several attempts, each a set of signed bytes. The first is the decision's own. A Raise pays more for the
// same to, value and data (I6); a NoOp spends the nonce on nothing, sent to the own address: it cancels what should not
// happen any more, and fills what can never be mined. Each attempt is committed before it is signed (I7), its bytes are stored
// before they are sent, and stored bytes are sent again as they are (I13). Whichever attempt the chain mines decides what
// became of the transaction. A nonce is never given back: bytes that have left may be mined at any later time.
//
// Plan is the heart: a pure function of what is known of a lane and what its chain shows, which answers what to do. Keeper
// asks the chain at each new head, plans each lane for itself, and carries the plans out. Workflows are not needed for it: a
// transaction whose message is parked is sent and mined all the same, for the lane's sake.
//
// Settled transactions are deep enough for the chain's finality and are not asked for again. What changed its mind after
// it was confirmed is taken back once, recorded as an event and counted; a message that has ended by then stays ended (I4).
// Where even what is settled was reorganised, the lane's nonce shows it: the same bytes are sent again.
//
// What it does not do: quote fees (package chain), sign (package signer), or decide what is to be sent (the workflow).
package transaction

import (
	"context"
	"math/big"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
)

// Kind says what an attempt does with the nonce.
type Kind string

// The kinds.
const (
	First Kind = "first" // as it was decided
	Raise Kind = "raise" // to, value and data as decided, for a higher price
	NoOp  Kind = "no-op" // nothing
)

// Attempt is one transaction with the nonce; its bytes never change once they are stored.
type Attempt struct {
	Number int            // 0 is the decision's own
	Kind   Kind           // First for number 0 alone
	Tx     chain.Unsigned // From is the lane's address
	Signed chain.Signed   // empty until stored
	By     string         // who decided it: ByKeeper, or an operator's name; "" for the decision's own
	Why    string         // one sentence for operators; "" for the decision's own
	At     time.Time      // when it was decided; zero for the decision's own
}

// Event is what an attempt is in the lane's events. Backends append it in the transaction that commits the attempt.
func (a Attempt) Event(nonce uint64) Event {
	what := EventRaised
	if a.Kind == NoOp {
		what = EventNoOp
	}
	return Event{Nonce: nonce, What: what, By: a.By, Why: a.Why, At: a.At}
}

// ByKeeper is who decides what no operator has asked for.
const ByKeeper = "aval"

// Status is where a transaction stands.
type Status string

// The statuses. The first two follow from the attempts, the others are recorded.
const (
	Decided   Status = "decided"   // no bytes yet
	Signed    Status = "signed"    // bytes, not known to be with a node
	Sent      Status = "sent"      // with a node
	Mined     Status = "mined"     // in a canonical block
	Confirmed Status = "confirmed" // deep enough for the chain's policy
	Lost      Status = "lost"      // the chain has spent the nonce on something that Aval did not decide
	Unknown   Status = "unknown"   // the chain has spent the nonce, and no node keeps what it was spent on, or how that ended
)

// Fate is what became of a transaction so far: all of it that changes. The zero Fate is that of one that nothing is known of.
type Fate struct {
	Status  Status    // Sent, Mined, Confirmed, Lost, Unknown, or ""
	Sent    time.Time // when it was first known to be with a node
	Attempt int       // Mined, Confirmed: which of them the chain holds
	Success bool      // it did not revert
	Block   uint64
	Hash    string // of the block
	GasUsed uint64
	Fee     *big.Int // paid in total
}

// Spent says whether a block holds it.
func (f Fate) Spent() bool { return f.Status == Mined || f.Status == Confirmed }

// GivenUp says whether the chain has spent the nonce, and nobody can say that it was on what Aval has decided.
func (f Fate) GivenUp() bool { return f.Status == Lost || f.Status == Unknown }

// Transaction is a nonce of a lane with all that was decided and signed for it.
type Transaction struct {
	Step     signer.Step
	Key      string
	Nonce    uint64
	Attempts []Attempt // in order of their numbers, at least one
	Fate     Fate
	Settled  bool // nothing about it will change any more
}

// Status is where the transaction stands.
func (t Transaction) Status() Status {
	switch {
	case t.Fate.Status != "":
		return t.Fate.Status
	case len(t.Attempts[0].Signed.Raw) > 0:
		return Signed
	}
	return Decided
}

// Reason is why an attempt was decided, for everybody: what an operator gives as a reason is for operators.
func (a Attempt) Reason() string {
	if a.By == ByKeeper {
		return a.Why
	}
	return "an operator has decided so"
}

// Newest is the attempt that was decided last.
func (t Transaction) Newest() Attempt { return t.Attempts[len(t.Attempts)-1] }

// Ended is the attempt that the chain holds; ok is false while it holds none.
func (t Transaction) Ended() (a Attempt, ok bool) {
	if t.Fate.Spent() && t.Fate.Attempt < len(t.Attempts) {
		return t.Attempts[t.Fate.Attempt], true
	}
	return a, false
}

// Lane is a key on a chain.
type Lane struct {
	Key     string
	Chain   string
	Address string
	Next    uint64 // the next nonce to be decided
	Settled uint64 // all below are settled
	Halted  string // why nothing more may be signed or sent: the key is quarantined; "" otherwise
}

// Event is something that happened to a transaction and that an operator may ask about. What every transaction goes through
// is no event.
type Event struct {
	Nonce uint64
	What  string // one of the words of events.go
	By    string
	Why   string // a sentence
	At    time.Time
}

// Marks are what a look at the chain found out about a lane.
type Marks struct {
	Fates   map[uint64]Fate // by nonce: replaces what is recorded
	Events  []Event         // appended in order
	Settled uint64          // all below are settled from now on; lower than what is recorded changes nothing
	Unknown bool            // only while each of the Fates replaces Unknown: transaction-known otherwise
}

// Store is the port to the transactions of all lanes.
//
// Durability: what returned nil is on stable storage. Ordering: attempts of a nonce are numbered without gaps, each pays more
// than the one before; events keep the order in which they were appended. Consistency: Replace is a compare-and-swap on the
// attempt's number, and checks what Admit says in the same transaction; Mark with Unknown is one on that status; decisions and
// attempts never change but for their bytes, which are stored once (I13); the fate of a settled transaction never changes, except
// from unknown to confirmed or lost. An error that is no refusal leaves the outcome unknown; each method can be repeated.
// Refusals: those of errors.go. Fault points, ".before" and ".after" each: transactions.replace, transactions.seal,
// transactions.mark. Its conformance suite is transactiontest.
type Store interface {
	// Lanes gives the chain's lanes with transactions that are not settled, by key.
	Lanes(ctx context.Context, chain string) ([]Lane, error)
	// Range gives a lane's transactions from a nonce on, at most limit of them, in order.
	Range(ctx context.Context, key string, from uint64, limit int) ([]Transaction, error)
	// Find gives the transactions of those steps that were decided.
	Find(ctx context.Context, steps []signer.Step) (map[signer.Step]Transaction, error)
	// Replace commits one more attempt, with its event. Another one with its number is attempt-taken; an unknown nonce
	// transaction-unknown. A no-op with number 0 is the decision for a nonce below the lane's next one that nobody decided, as
	// its FillStep: what a stranger had spent and a reorganisation has freed.
	Replace(ctx context.Context, key string, nonce uint64, a Attempt) error
	// Seal stores the bytes of an attempt that Replace has committed; bytes already stored are kept and returned. What nobody
	// decided is decision-unknown (A28).
	Seal(ctx context.Context, key string, nonce uint64, number int, signed chain.Signed) (chain.Signed, error)
	// Mark records what a look found out, all of it or nothing.
	Mark(ctx context.Context, key string, m Marks) error
}

// Journal is the port to what operators ask about the transactions of a Store. Durability, ordering and consistency are the
// Store's. Its conformance suite is transactiontest.
type Journal interface {
	// Events gives what happened to a transaction, in order.
	Events(ctx context.Context, key string, nonce uint64) ([]Event, error)
	// ByHash finds the transaction that one of whose attempts has the hash: transaction-unknown otherwise (I15).
	ByHash(ctx context.Context, hash string) (Transaction, error)
	// ByMessage lists what was decided for a message, by its states.
	ByMessage(ctx context.Context, id message.ID) ([]Transaction, error)
}

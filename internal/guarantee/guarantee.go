// Package guarantee is the first domain: the system of record.
//
// It holds each message's original, state, ext and history, from the accepted submission to the archive. There is one
// write path after acceptance, Commit: a compare-and-swap on the message's version that stores the new state, its
// history, when it is due next and the events for the outbox, in one database transaction for a whole batch. A message
// leaves only into the archive, in the commit that ends its workflow.
package guarantee

import (
	"context"
	"encoding/json"
	"time"

	"github.com/avalhq/aval/internal/message"
)

// Status is the coarse state that every workflow shares.
type Status string

// The statuses. Succeeded and Failed are terminal: no transition leaves them.
const (
	Running   Status = "running"   // due now, or being worked on
	Waiting   Status = "waiting"   // due at a later time
	Parked    Status = "parked"    // a dead letter or held by an operator: waits for a person; Reason says why
	Succeeded Status = "succeeded" // the workflow ended well
	Failed    Status = "failed"    // the workflow ended in a Fail state; Reason says why
)

// Terminal says whether no further transition is allowed.
func (s Status) Terminal() bool { return s == Succeeded || s == Failed }

// Record is a message as Guarantee holds it: the original, immutable, and what changes.
type Record struct {
	message.Verified                 // the original and what is signed in it
	Workflow         string          // the definition it is pinned to: name "@" content hash; a migration changes it
	Version          int64           // number of history entries; the compare-and-swap token
	State            string          // the workflow state where the message stands
	Status           Status          //
	Place            []byte          // the machine's own encoding of where it stands (see package machine)
	Parts            []Part          // of the place, stored beside it; none when archived
	Ext              json.RawMessage // intermediate data, a JSON object: what actions pass on to later actions
	Due              time.Time       // when it is to be fed next; zero when terminal or parked
	Reason           string          // why it is parked or failed, as a sentence
	Accepted         time.Time
	Updated          time.Time
	Archived         bool
}

// Entry is one row of a message's history: one step of its workflow, or one act of an operator.
type Entry struct {
	Version int64           `json:"version"`          // 1, 2, 3… without gaps
	State   string          `json:"state"`            // the state that this step left or concerns
	Event   string          `json:"event"`            // what happened: "accepted", "entered", "succeeded", "failed", "retry", "waiting", "parked", …
	Action  string          `json:"action,omitempty"` // the action that ran, for a Task
	By      string          `json:"by"`               // who did it: a process's name, or an operator's subject
	At      time.Time       `json:"at"`
	Took    time.Duration   `json:"took_ns,omitempty"` // how long the action ran
	Note    string          `json:"note,omitempty"`    // for people: which rule decided, which error
	Output  json.RawMessage `json:"output,omitempty"`  // what the action answered, when it is short
}

// Transition moves one message by one or more steps in one commit. One without entries only changes Due: the message waits
// on where it stands, its version stays.
type Transition struct {
	ID      message.ID
	From    int64   // the version that the decision was made on; another one there is ErrStale
	Entries []Entry // one a step; the new version is From + len(Entries)
	State   string
	Status  Status
	Place   []byte
	Parts   []Part // of the place: those that change; only with Entries. A terminal Status removes all
	Ext     json.RawMessage
	Due     time.Time // when to be fed next; zero with Running leaves it as it is, otherwise zero means not to be fed
	Reason  string
	Archive bool // with a terminal Status: the message moves into the archive in this commit

	Open   []Call    // take an answer from this commit on; only with Entries
	Close  []Closing // take none from this commit on; one of which more came in than was seen is ErrStale
	Awaits bool      // calls stay open: with an answer to one of them stored, the message is due at once, whatever Due says
	// Workflow is the definition that the message is pinned to from now on; "" leaves it as it is. Only with Entries.
	Workflow string
}

// Issued is a message id given to a client.
type Issued struct {
	ID      message.ID
	Client  string
	At      time.Time // when it was issued; zero where nobody asks
	Expires time.Time
}

// Acceptance is what Accept stores, once.
type Acceptance struct {
	Record
	Attributes Attributes
}

// Attributes is the subset of a message that Reference shows; taken from the original at acceptance, never changed.
type Attributes struct {
	Client string `json:"client"`
	Type   string `json:"type"`
	Chain  string `json:"chain"`
	Signer string `json:"signer"`
	Wallet string `json:"wallet,omitempty"`
	To     string `json:"to,omitempty"`
	Asset  string `json:"asset,omitempty"`
	Amount string `json:"amount,omitempty"` // in the asset's smallest unit, decimal digits
}

// Store is the port to the database of Guarantee.
//
// Durability: a method that returned nil has its writes on stable storage (fsync), together or not at all. An error other
// than those named leaves the outcome unknown: read back before deciding. Ordering: commits are linearizable per message.
// Consistency: reads see every write that returned before they began. Its conformance suite is guaranteetest.
type Store interface {
	// Issue records fresh ids; those that, when these are issued, expired unused long ago are forgotten, so that they cannot
	// pile up.
	Issue(ctx context.Context, ids []Issued) error
	// Accept stores a message under an id that was issued to its client, once. The same digest again gives the stored
	// record and created false; its refusals are those of errors.go, on which the stored data is unchanged.
	Accept(ctx context.Context, a Acceptance, now time.Time) (rec Record, created bool, err error)
	// Load reads live messages in one read, in any order; ids that are not live are left out.
	Load(ctx context.Context, ids []message.ID) ([]Record, error)
	// Commit applies a batch in one database transaction. The answer has one error a transition: nil, ErrStale, ErrFinal or
	// ErrUnknown. Refused transitions do not disturb the others. A non-nil second value means that nothing was applied, or
	// that the outcome is unknown.
	Commit(ctx context.Context, ts []Transition) ([]error, error)
	// Pinned lists live messages that are pinned to a definition, by id, from after an id, "" for the first.
	Pinned(ctx context.Context, ref string, after message.ID, limit int) ([]message.ID, error)
	// Get reads one message, live or archived, with its history.
	Get(ctx context.Context, id message.ID) (Record, []Entry, error)
	// Scan walks all messages, live ones by id, then archived ones by order of archiving; from "" until next is "".
	Scan(ctx context.Context, from string, limit int) (page []Snapshot, next string, err error)
}

// Snapshot is what Reference needs of one message.
type Snapshot struct {
	ID         message.ID
	Version    int64
	State      string
	Status     Status
	Reason     string
	Archived   bool
	Accepted   time.Time
	Updated    time.Time
	Attributes Attributes
}

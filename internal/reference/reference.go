// Package reference is the third domain: the read model.
//
// It holds a subset of each message's attributes with the version that they belong to; an older version never overwrites a
// newer one. A Follower tails the outbox of Guarantee and keeps its position in the same transaction as its rows, so nothing
// is applied twice or skipped. Service answers queries, verifies the rows against Guarantee and rebuilds them while the
// system runs: on a mismatch Guarantee wins (I19).
//
// It decides nothing: no transition, no refusal, no effect is ever based on it, and it may lag behind Guarantee.
package reference

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// Row is a message as Reference shows it.
type Row = guarantee.Snapshot

// Query selects rows; zero fields do not restrict. Newest accepted first.
type Query struct {
	Client   string
	Type     string
	State    string
	Status   guarantee.Status
	Wallet   string
	From, To time.Time // accepted in [From, To)
	Cursor   string    // opaque, from Page.Next
	Limit    int       // 1 to 500; 0 means 50
}

// The bounds of Query.Limit.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// Size is the number of rows that a page may hold.
func (q Query) Size() int {
	if q.Limit == 0 {
		return DefaultLimit
	}
	return min(max(q.Limit, 1), MaxLimit)
}

// Page is a part of the answer.
type Page struct {
	Rows []Row
	Next string // empty on the last page
}

// Count is a number of messages in one state.
type Count struct {
	Type   string
	State  string
	Status guarantee.Status
	Number int64
}

// Stay is the seq for Store.Apply that leaves the position where it is.
const Stay int64 = -1

// Store is the port to the database of Reference: what following and queries need.
//
// Durability: none is needed; what is lost is rebuilt. Ordering: Apply keeps the highest version of each message.
// Consistency: a row and the position that it was applied with are stored together, and counts agree with the rows at
// every moment. Its suite is referencetest.
type Store interface {
	// Apply upserts rows and moves the position to seq, together; Stay leaves the position.
	Apply(ctx context.Context, rows []Row, seq int64) error
	// Position is the last seq applied, 0 before the first.
	Position(ctx context.Context) (int64, error)
	// List answers a query; a cursor that it did not give is cursor-malformed. Rows that do not change keep their place.
	List(ctx context.Context, q Query) (Page, error)
	// Counts groups the rows of one client ("" for all); by type, state and status.
	Counts(ctx context.Context, client string) ([]Count, error)
}

// Repairs is the port to the same database for Verify and Rebuild. Durability, ordering and consistency are those of Store,
// but that Replace keeps no order of versions: see mend. Its suite is referencetest.
type Repairs interface {
	// Walk gives rows by id, from "" until fewer than limit come.
	Walk(ctx context.Context, after string, limit int) ([]Row, error)
	// Find reads rows by id, in any order; what is not there is left out.
	Find(ctx context.Context, ids []message.ID) ([]Row, error)
	// Replace sets rows whatever their version and deletes ids, together.
	Replace(ctx context.Context, rows []Row, remove []message.ID) error
	// Recount tells how many of the numbers behind Counts disagree with the rows, and with repair sets them right.
	Recount(ctx context.Context, repair bool) (wrong int64, err error)
}

// Source is the port to Guarantee's messages.
//
// Durability: it only reads. Ordering: a message that moves into the archive during a walk is met there again, none is
// missed. Consistency: reads see every commit that returned before they began. Its suite is referencetest.
type Source interface {
	// Scan walks all messages, live ones by id, then archived ones by order of archiving; from "" until next is "".
	Scan(ctx context.Context, from string, limit int) (page []guarantee.Snapshot, next string, err error)
	// Snapshots reads messages by id, live or archived, in any order; what is not there is left out.
	Snapshots(ctx context.Context, ids []message.ID) ([]guarantee.Snapshot, error)
}

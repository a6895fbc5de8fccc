// Package reference is the third domain: the read model.
//
// It holds a subset of each message's attributes with the version that they belong to; an older version never overwrites a
// newer one. It follows the outbox of Guarantee and keeps its position in the same transaction as its rows, so nothing is
// applied twice or skipped. It can always be rebuilt from Guarantee, and on a mismatch Guarantee wins (I19).
package reference

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
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

// Store is the port to the database of Reference.
//
// Durability: none is needed; what is lost is rebuilt. Ordering: Apply keeps the highest version of each message.
// Consistency: a row and the position that it was applied with are stored together. Its suite is referencetest.
type Store interface {
	// Apply upserts rows and moves the position to seq, together. seq 0 leaves the position.
	Apply(ctx context.Context, rows []Row, seq int64) error
	// Position is the last seq applied.
	Position(ctx context.Context) (int64, error)
	// List answers a query.
	List(ctx context.Context, q Query) (Page, error)
	// Counts groups the rows of one client ("" for all).
	Counts(ctx context.Context, client string) ([]Count, error)
	// Walk gives rows by id, from "" until fewer than limit come.
	Walk(ctx context.Context, after string, limit int) ([]Row, error)
	// Replace sets rows whatever their version and deletes ids: what verify and rebuild mend with.
	Replace(ctx context.Context, rows []Row, remove []string) error
}

package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/event"
)

// Outbox serves event.Outbox from the events that guarantee.go writes. With one writer, the order of seq is the order of
// commits (I16).
type Outbox struct{ db *DB }

// NewOutbox uses the system of record.
func NewOutbox(db *DB) *Outbox { return &Outbox{db} }

// Read gives the events after seq; it waits for a commit when there are none.
func (o *Outbox) Read(ctx context.Context, after int64, limit int) ([]event.Event, error) {
	for {
		changed := o.db.commits() // taken before reading, so that no commit falls between
		events, err := o.read(ctx, after, limit)
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (o *Outbox) read(ctx context.Context, after int64, limit int) (events []event.Event, err error) {
	err = o.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, `SELECT id, version, state, status, reason, archived, accepted, updated, attributes, seq
			FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?`, func(s *sqlite.Stmt) {
			s.BindInt64(1, after)
			s.BindInt64(2, int64(limit))
		}, func(s *sqlite.Stmt) error {
			snap, err := snapshot(s, 0)
			events = append(events, event.Event{Seq: s.ColumnInt64(9), Snapshot: snap})
			return err
		})
	})
	return events, err
}

// Trim forgets the events at or below seq.
func (o *Outbox) Trim(ctx context.Context, seq int64) error {
	return o.db.updateBare(ctx, "outbox.trim", func(conn *sqlite.Conn) error {
		return run(conn, "DELETE FROM outbox WHERE seq <= ?", func(s *sqlite.Stmt) { s.BindInt64(1, seq) }, nil)
	})
}

// Bounds tells the first and last seq.
func (o *Outbox) Bounds(ctx context.Context) (first, last int64, err error) {
	err = o.db.view(ctx, func(conn *sqlite.Conn) error {
		_, err := queryRow(conn, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", nil, func(s *sqlite.Stmt) { last = s.ColumnInt64(0) })
		if err != nil {
			return err
		}
		first = last + 1
		_, err = queryRow(conn, "SELECT seq FROM outbox ORDER BY seq LIMIT 1", nil, func(s *sqlite.Stmt) { first = s.ColumnInt64(0) })
		return err
	})
	return first, last, err
}

package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

// Reference is reference.Store and reference.Repairs on a file of its own, opened by OpenReference.
type Reference struct{ db *DB }

// NewReference serves the ports from db.
func NewReference(db *DB) *Reference { return &Reference{db} }

const (
	messageBefore = "SELECT n, version, tally FROM messages WHERE id = ?"
	insertMessage = `INSERT INTO messages (id, version, tally, reason, archived, accepted, updated, chain, signer, wallet, recipient, asset, amount)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)`
	// What never changes in a message is left alone, so that its indexes are not touched.
	moveMessage    = "UPDATE messages SET version = ?2, tally = ?3, reason = ?4, archived = ?5, updated = ?7 WHERE n = ?1"
	replaceMessage = `UPDATE messages SET version = ?2, tally = ?3, reason = ?4, archived = ?5, accepted = ?6, updated = ?7,
chain = ?8, signer = ?9, wallet = ?10, recipient = ?11, asset = ?12, amount = ?13 WHERE n = ?1`
	// A damaged tally must not hide its row from verify: therefore LEFT.
	selectMessage = `SELECT m.id, m.version, t.state, t.status, m.reason, m.archived, m.accepted, m.updated, t.client, t.type,
m.chain, m.signer, m.wallet, m.recipient, m.asset, m.amount FROM messages m LEFT JOIN tallies t ON t.id = m.tally`
)

// Apply upserts rows and moves the position; an older version changes nothing (I19).
func (r *Reference) Apply(ctx context.Context, rows []reference.Row, seq int64) error {
	return r.db.update(ctx, "reference.apply", func(conn *sqlite.Conn) error {
		b := newBatch(conn)
		for i := range rows {
			if err := b.apply(&rows[i]); err != nil {
				return err
			}
		}
		if err := b.flush(); err != nil || seq == reference.Stay {
			return err
		}
		return run(conn, "UPDATE position SET seq = ?", func(s *sqlite.Stmt) { s.BindInt64(1, seq) }, nil)
	})
}

// Replace sets rows and removes others, whatever their version.
func (r *Reference) Replace(ctx context.Context, rows []reference.Row, remove []message.ID) error {
	return r.db.update(ctx, "reference.replace", func(conn *sqlite.Conn) error {
		b := newBatch(conn)
		for _, id := range remove {
			if err := b.remove(id); err != nil {
				return err
			}
		}
		for i := range rows {
			if err := b.replace(&rows[i]); err != nil {
				return err
			}
		}
		return b.flush()
	})
}

// Position is the last seq applied.
func (r *Reference) Position(ctx context.Context) (seq int64, err error) {
	err = r.db.view(ctx, func(conn *sqlite.Conn) error {
		_, err := queryRow(conn, "SELECT seq FROM position", nil, func(s *sqlite.Stmt) { seq = s.ColumnInt64(0) })
		return err
	})
	return seq, err
}

// Counts sums the tallies.
func (r *Reference) Counts(ctx context.Context, client string) (counts []reference.Count, err error) {
	err = r.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, `SELECT type, state, status, sum(number) FROM tallies WHERE number > 0 AND (?1 = '' OR client = ?1)
GROUP BY type, state, status ORDER BY type, state, status`, func(s *sqlite.Stmt) { s.BindText(1, client) }, func(s *sqlite.Stmt) error {
			counts = append(counts, reference.Count{
				Type: s.ColumnText(0), State: s.ColumnText(1), Status: status(s, 2), Number: s.ColumnInt64(3),
			})
			return nil
		})
	})
	return counts, err
}

// Walk gives rows by id.
func (r *Reference) Walk(ctx context.Context, after string, limit int) (rows []reference.Row, err error) {
	err = r.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, selectMessage+" WHERE m.id > ? ORDER BY m.id LIMIT ?", func(s *sqlite.Stmt) {
			s.BindText(1, after)
			s.BindInt64(2, int64(limit))
		}, func(s *sqlite.Stmt) error {
			rows = append(rows, readMessage(s))
			return nil
		})
	})
	return rows, err
}

// Find reads rows by id, in one snapshot.
func (r *Reference) Find(ctx context.Context, ids []message.ID) ([]reference.Row, error) {
	rows := make([]reference.Row, 0, len(ids))
	err := r.db.view(ctx, func(conn *sqlite.Conn) error {
		for _, id := range ids {
			if _, err := queryRow(conn, selectMessage+" WHERE m.id = ?", func(s *sqlite.Stmt) { s.BindText(1, string(id)) },
				func(s *sqlite.Stmt) { rows = append(rows, readMessage(s)) }); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// Recount compares the tallies with the rows, in one snapshot.
func (r *Reference) Recount(ctx context.Context, repair bool) (wrong int64, err error) {
	const actual = "(SELECT count(*) FROM messages WHERE tally = tallies.id)"
	count := func(conn *sqlite.Conn) error {
		_, err := queryRow(conn, "SELECT count(*) FROM tallies WHERE number <> "+actual, nil, func(s *sqlite.Stmt) { wrong = s.ColumnInt64(0) })
		return err
	}
	if err := r.db.view(ctx, count); err != nil || wrong == 0 || !repair {
		return wrong, err
	}
	err = r.db.update(ctx, "reference.recount", func(conn *sqlite.Conn) error {
		if err := count(conn); err != nil {
			return err
		}
		return run(conn, "UPDATE tallies SET number = "+actual+" WHERE number <> "+actual, nil, nil)
	})
	return wrong, err
}

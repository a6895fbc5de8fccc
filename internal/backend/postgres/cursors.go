package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Cursors serves relay.Cursors. The outbox keeps what a cursor has not reached: see Trim.
type Cursors struct{ db *DB }

// NewCursors uses the system of record.
func NewCursors(db *DB) *Cursors { return &Cursors{db} }

// Cursor reads a cursor, and makes it where there is none.
func (c *Cursors) Cursor(ctx context.Context, source string) (int64, error) {
	if _, err := c.db.pool.Exec(ctx, "INSERT INTO relay_cursors (source, seq) VALUES ($1, 0) ON CONFLICT DO NOTHING", clean(source)); err != nil {
		return 0, c.db.describe(err)
	}
	seq, _, err := one(ctx, c.db, c.db.pool, pgx.RowTo[int64], "SELECT seq FROM relay_cursors WHERE source = $1", clean(source))
	return seq, err
}

// Advance moves a cursor forward.
func (c *Cursors) Advance(ctx context.Context, source string, seq int64) error {
	return c.db.update(ctx, "relay.advance", func() error {
		_, err := c.db.pool.Exec(ctx, `INSERT INTO relay_cursors AS c (source, seq) VALUES ($1, $2)
			ON CONFLICT (source) DO UPDATE SET seq = greatest(c.seq, excluded.seq)`, clean(source), seq)
		return err
	})
}

// Forget removes a cursor.
func (c *Cursors) Forget(ctx context.Context, source string) error {
	_, err := c.db.pool.Exec(ctx, "DELETE FROM relay_cursors WHERE source = $1", clean(source))
	return c.db.describe(err)
}

package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/action/controlpoint"
)

// Calls is controlpoint.Journal on the system of record.
type Calls struct{ db *DB }

// NewCalls serves the port from db.
func NewCalls(db *DB) *Calls { return &Calls{db} }

// Find reads the entries of a step by target.
func (c *Calls) Find(ctx context.Context, step controlpoint.Step) ([]controlpoint.Entry, error) {
	return rows(ctx, c.db, c.db.pool, func(row pgx.CollectableRow) (e controlpoint.Entry, err error) {
		var at int64
		err = row.Scan(&e.Target, &e.Sends, &e.Phase, &at, (*[]byte)(&e.Result))
		e.At = timeOf(&at)
		return e, err
	}, "SELECT target, sends, phase, at, result FROM calls WHERE message = $1 AND state = $2 ORDER BY target", clean(string(step.Message)), clean(step.State))
}

// Begin inserts the first send, and counts a later one up only from the one before it.
func (c *Calls) Begin(ctx context.Context, step controlpoint.Step, target string, n int, now time.Time) (given bool, err error) {
	query := "INSERT INTO calls (message, state, target, at, sends, phase) VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT DO NOTHING"
	if n > 1 {
		query = "UPDATE calls SET at = $4, sends = $5, phase = 1 WHERE message = $1 AND state = $2 AND target = $3 AND sends = $5 - 1 AND phase <> 3"
	}
	err = c.db.update(ctx, "calls.begin", func() error {
		tag, err := c.db.pool.Exec(ctx, query, string(step.Message), clean(step.State), target, micros(now), n)
		given = err == nil && tag.RowsAffected() == 1
		return err
	})
	return given && err == nil, err
}

// End changes the row only while it is this send's and not done.
func (c *Calls) End(ctx context.Context, step controlpoint.Step, ended controlpoint.Entry) error {
	return c.db.update(ctx, "calls.end", func() error {
		_, err := c.db.pool.Exec(ctx, "UPDATE calls SET at = $5, phase = $6, result = $7 WHERE message = $1 AND state = $2 AND target = $3 AND sends = $4 AND phase <> 3",
			string(step.Message), clean(step.State), ended.Target, ended.Sends, micros(ended.At), int(ended.Phase), []byte(ended.Result))
		return err
	})
}

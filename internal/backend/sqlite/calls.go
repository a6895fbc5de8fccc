package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/action/controlpoint"
)

// Calls is controlpoint.Journal on the system of record.
type Calls struct{ db *DB }

// NewCalls serves the port from db.
func NewCalls(db *DB) *Calls { return &Calls{db} }

// Find reads the entries of a step by target.
func (c *Calls) Find(ctx context.Context, step controlpoint.Step) (entries []controlpoint.Entry, err error) {
	err = c.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "SELECT target, sends, phase, at, result FROM calls WHERE message = ? AND state = ? ORDER BY target",
			func(s *sqlite.Stmt) { bindStep(s, 1, step) },
			func(s *sqlite.Stmt) error {
				entries = append(entries, controlpoint.Entry{
					Target: s.ColumnText(0), Sends: s.ColumnInt(1), Phase: controlpoint.Phase(s.ColumnInt(2)), At: columnTime(s, 3), Result: blob(s, 4),
				})
				return nil
			})
	})
	return entries, err
}

// Begin inserts the first send, and counts a later one up only from the one before it.
func (c *Calls) Begin(ctx context.Context, step controlpoint.Step, target string, n int, now time.Time) (given bool, err error) {
	query := `INSERT INTO calls (message, state, target, at, sends, phase) VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING`
	if n > 1 {
		query = "UPDATE calls SET at = ?4, sends = ?5, phase = 1 WHERE message = ?1 AND state = ?2 AND target = ?3 AND sends = ?5 - 1 AND phase <> 3"
	}
	err = c.db.update(ctx, "calls.begin", func(conn *sqlite.Conn) error {
		given = false
		err := run(conn, query, func(s *sqlite.Stmt) {
			bindStep(s, 1, step)
			s.BindText(3, target)
			s.BindInt64(4, micros(now))
			s.BindInt64(5, int64(n))
		}, nil)
		given = err == nil && conn.Changes() == 1
		return err
	})
	return given && err == nil, err
}

// End changes the row only while it is this send's and not done.
func (c *Calls) End(ctx context.Context, step controlpoint.Step, ended controlpoint.Entry) error {
	return c.db.update(ctx, "calls.end", func(conn *sqlite.Conn) error {
		return run(conn, "UPDATE calls SET at = ?5, phase = ?6, result = ?7 WHERE message = ?1 AND state = ?2 AND target = ?3 AND sends = ?4 AND phase <> 3", func(s *sqlite.Stmt) {
			bindStep(s, 1, step)
			s.BindText(3, ended.Target)
			s.BindInt64(4, int64(ended.Sends))
			s.BindInt64(5, micros(ended.At))
			s.BindInt64(6, int64(ended.Phase))
			if ended.Result == nil {
				s.BindNull(7)
			} else {
				s.BindBytes(7, ended.Result)
			}
		}, nil)
	})
}

func bindStep(s *sqlite.Stmt, param int, step controlpoint.Step) {
	s.BindText(param, string(step.Message))
	s.BindText(param+1, step.State)
}

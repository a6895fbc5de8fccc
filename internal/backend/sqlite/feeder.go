package sqlite

import (
	"context"
	"errors"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/message"
)

// Feeder serves feeder.Feeder from the due times on the messages themselves, which Guarantee's commits write. Only claims
// are its own, and they are in memory: the process that dies with them is the only one that could have worked on them.
type Feeder struct {
	db    *DB
	now   func() time.Time
	mu    sync.Mutex
	taken map[int64]bool // the rows of messages that are claimed
	rows  map[message.ID]int64
	freed chan struct{} // signalled when claims were settled
}

// NewFeeder uses the system of record; now is the clock that due times are compared with.
func NewFeeder(db *DB, now func() time.Time) *Feeder {
	return &Feeder{db: db, now: now, taken: map[int64]bool{}, rows: map[message.ID]int64{}, freed: make(chan struct{}, 1)}
}

// Claim waits until an id is due.
func (f *Feeder) Claim(ctx context.Context, limit int) ([]message.ID, error) {
	for {
		changed := f.db.commits() // taken before reading, so that no commit falls between
		ids, next, err := f.claim(ctx, limit)
		if err != nil || len(ids) > 0 {
			return ids, err
		}
		if err := f.sleep(ctx, changed, next); err != nil {
			return nil, err
		}
	}
}

// sleep ends at the next commit, when claims are settled, or when the earliest waiting message is due.
func (f *Feeder) sleep(ctx context.Context, changed <-chan struct{}, next time.Time) error {
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(max(next.Sub(f.now()), time.Millisecond))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-f.freed:
	case <-timer:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// claim takes what is due and not taken; next is when the earliest later one is due. What is taken stays due until it moves on, and
// is passed over each time: so rows are told apart by what stands in the index. The query is ended here, as with a bound LIMIT SQLite
// prepares it anew at every run.
func (f *Feeder) claim(ctx context.Context, limit int) (ids []message.ID, next time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := micros(f.now())
	var rows []int64
	err = f.db.view(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, "SELECT rowid, due FROM messages WHERE due IS NOT NULL ORDER BY due", nil, func(s *sqlite.Stmt) error {
			row, due := s.ColumnInt64(0), s.ColumnInt64(1)
			switch {
			case due > now:
				next = columnTime(s, 1)
				return errEnough
			case !f.taken[row]:
				rows = append(rows, row)
			}
			if len(rows) == limit {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		ids, err = f.take(conn, rows)
		return err
	})
	if err != nil {
		return nil, next, err
	}
	for i, id := range ids {
		f.taken[rows[i]], f.rows[id] = true, rows[i]
	}
	return ids, next, nil
}

// take reads whose rows they are.
func (f *Feeder) take(conn *sqlite.Conn, rows []int64) ([]message.ID, error) {
	ids := make([]message.ID, len(rows))
	for i, row := range rows {
		_, err := queryRow(conn, "SELECT id FROM messages WHERE rowid = ?", func(s *sqlite.Stmt) { s.BindInt64(1, row) }, func(s *sqlite.Stmt) { ids[i] = message.ID(s.ColumnText(0)) })
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Settle ends claims.
func (f *Feeder) Settle(_ context.Context, ids []message.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.taken, f.rows[id])
		delete(f.rows, id)
	}
	select {
	case f.freed <- struct{}{}:
	default:
	}
	return nil
}

// Depth counts what is due.
func (f *Feeder) Depth(ctx context.Context) (d feeder.Depth, err error) {
	err = f.db.view(ctx, func(conn *sqlite.Conn) error {
		_, err := queryRow(conn, "SELECT count(*), min(due) FROM messages WHERE due <= ?",
			func(s *sqlite.Stmt) { s.BindInt64(1, micros(f.now())) },
			func(s *sqlite.Stmt) { d.Due, d.Oldest = s.ColumnInt64(0), columnTime(s, 1) })
		return err
	})
	return d, err
}

// Nudge makes due what waits. What is claimed does not wait, and its claimer is this process.
func (f *Feeder) Nudge(ctx context.Context, _ string, ids []message.ID) error {
	now := micros(f.now())
	var waiting []message.ID
	err := f.db.view(ctx, func(conn *sqlite.Conn) error {
		for _, id := range ids {
			found, err := queryRow(conn, "SELECT 1 FROM messages WHERE id = ? AND status = 'waiting' AND due > ?", func(s *sqlite.Stmt) {
				s.BindText(1, string(id))
				s.BindInt64(2, now)
			}, func(*sqlite.Stmt) {})
			if err != nil {
				return err
			}
			if found {
				waiting = append(waiting, id)
			}
		}
		return nil
	})
	if err != nil || len(waiting) == 0 {
		return err
	}
	return f.db.update(ctx, "feeder.nudge", func(conn *sqlite.Conn) error {
		for _, id := range waiting {
			err := run(conn, "UPDATE messages SET due = ?1 WHERE id = ?2 AND status = 'waiting' AND due > ?1", func(s *sqlite.Stmt) {
				s.BindInt64(1, now)
				s.BindText(2, string(id))
			}, nil)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Listen hears nothing: no other process shares the files.
func (f *Feeder) Listen(ctx context.Context, _ func(string, []message.ID)) { <-ctx.Done() }

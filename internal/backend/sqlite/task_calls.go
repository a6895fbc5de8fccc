package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Two of the statuses of a call; the schema explains all.
const (
	callOpen = "open"
	callOver = "over"
)

// Answer stores the answer to a call and makes its message due.
func (g *Guarantee) Answer(ctx context.Context, id message.ID, number int, state string, a guarantee.Answer, at time.Time) error {
	answer, err := json.Marshal(a)
	if err != nil {
		return err
	}
	unsigned := a
	unsigned.By = ""
	content, err := json.Marshal(unsigned)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(content)
	return g.db.update(ctx, "guarantee.answer", func(conn *sqlite.Conn) error {
		repeated, err := takesAnswer(conn, id, number, state, digest[:])
		if repeated || err != nil {
			return err
		}
		err = run(conn, "UPDATE task_calls SET status = 'answered', answered = ?, answer = ?, digest = ?, heard = heard + 1 WHERE id = ? AND call = ?", func(s *sqlite.Stmt) {
			s.BindInt64(1, micros(at))
			s.BindBytes(2, answer)
			s.BindBytes(3, digest[:])
			s.BindText(4, string(id))
			s.BindInt64(5, int64(number))
		}, nil)
		if err != nil {
			return err
		}
		return hasten(conn, id, at)
	})
}

// Beat notes a heartbeat.
func (g *Guarantee) Beat(ctx context.Context, id message.ID, number int, state string, at time.Time) error {
	return g.db.update(ctx, "guarantee.beat", func(conn *sqlite.Conn) error {
		if _, err := takesAnswer(conn, id, number, state, nil); err != nil {
			return err
		}
		return run(conn, "UPDATE task_calls SET beat = max(?, coalesce(beat, 0)), heard = heard + 1 WHERE id = ? AND call = ?", func(s *sqlite.Stmt) {
			s.BindInt64(1, micros(at))
			s.BindText(2, string(id))
			s.BindInt64(3, int64(number))
		}, nil)
	})
}

// takesAnswer tells whether a call takes something in; repeated: it has this very answer already.
func takesAnswer(conn *sqlite.Conn, id message.ID, number int, state string, digest []byte) (repeated bool, err error) {
	refusal := error(guarantee.ErrTaskUnknown)
	_, err = queryRow(conn, "SELECT status, state, digest FROM task_calls WHERE id = ? AND call = ?", func(s *sqlite.Stmt) {
		s.BindText(1, string(id))
		s.BindInt64(2, int64(number))
	}, func(s *sqlite.Stmt) {
		status, known := s.ColumnText(0), blob(s, 2)
		switch {
		case s.ColumnText(1) != state:
		case status == callOpen:
			refusal = nil
		case status == callOver:
			refusal = guarantee.ErrTaskOver
		case digest != nil && bytes.Equal(known, digest):
			repeated, refusal = true, nil
		default:
			refusal = guarantee.ErrTaskAnswered
		}
	})
	if err == nil {
		err = refusal
	}
	return repeated, err
}

// hasten makes a message due that waits for longer. One that is parked stays where it is.
func hasten(conn *sqlite.Conn, id message.ID, at time.Time) error {
	return run(conn, "UPDATE messages SET due = ? WHERE id = ? AND due > ?", func(s *sqlite.Stmt) {
		s.BindInt64(1, micros(at))
		s.BindText(2, string(id))
		s.BindInt64(3, micros(at))
	}, nil)
}

const (
	callColumns = "SELECT id, call, state, opened, until, heartbeat, heard, beat, answer FROM task_calls WHERE id = ?"
	openCalls   = callColumns + " AND status IN ('open', 'answered') ORDER BY call"
	heardCalls  = callColumns + " AND heard > 0 AND status IN ('open', 'answered') ORDER BY call"
)

// Heard gives the open calls for which something came in.
func (g *Guarantee) Heard(ctx context.Context, ids []message.ID) (map[message.ID][]guarantee.Call, error) {
	heard := map[message.ID][]guarantee.Call{}
	err := g.db.view(ctx, func(conn *sqlite.Conn) error {
		for _, id := range ids {
			calls, err := readCalls(conn, heardCalls, id)
			if err != nil {
				return err
			}
			if len(calls) > 0 {
				heard[id] = calls
			}
		}
		return nil
	})
	return heard, err
}

// Open gives all open calls of a message.
func (g *Guarantee) Open(ctx context.Context, id message.ID) (calls []guarantee.Call, err error) {
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		calls, err = readCalls(conn, openCalls, id)
		return err
	})
	return calls, err
}

func readCalls(conn *sqlite.Conn, query string, id message.ID) (calls []guarantee.Call, err error) {
	err = run(conn, query, func(s *sqlite.Stmt) { s.BindText(1, string(id)) }, func(s *sqlite.Stmt) error {
		c := guarantee.Call{
			Number: int(s.ColumnInt64(1)), State: s.ColumnText(2), Opened: columnTime(s, 3), Until: columnTime(s, 4),
			Heartbeat: time.Duration(s.ColumnInt64(5)) * time.Microsecond, Heard: s.ColumnInt64(6), Beat: columnTime(s, 7),
		}
		if !s.ColumnIsNull(8) {
			c.Answer = &guarantee.Answer{}
			if err := json.Unmarshal(blob(s, 8), c.Answer); err != nil {
				return problem.New(problem.Internal, "storage-corrupt", "the answer to a task of %s cannot be read: %w", id, err)
			}
		}
		calls = append(calls, c)
		return nil
	})
	return calls, err
}

// unseen tells whether more came in for a call than was seen when its end was decided.
func unseen(conn *sqlite.Conn, t *guarantee.Transition) (more bool, err error) {
	for _, c := range t.Close {
		_, err := queryRow(conn, "SELECT heard FROM task_calls WHERE id = ? AND call = ?", func(s *sqlite.Stmt) {
			s.BindText(1, string(t.ID))
			s.BindInt64(2, int64(c.Number))
		}, func(s *sqlite.Stmt) { more = more || s.ColumnInt64(0) != c.Seen })
		if more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// moveCalls closes and opens what a transition says, and makes its message due if an answer waits.
func moveCalls(conn *sqlite.Conn, t *guarantee.Transition) error {
	for _, c := range t.Close {
		err := run(conn, "UPDATE task_calls SET status = CASE status WHEN 'answered' THEN 'taken' ELSE 'over' END, answer = NULL WHERE id = ? AND call = ? AND status IN ('open', 'answered')", func(s *sqlite.Stmt) {
			s.BindText(1, string(t.ID))
			s.BindInt64(2, int64(c.Number))
		}, nil)
		if err != nil {
			return err
		}
	}
	for _, c := range t.Open {
		err := run(conn, "INSERT INTO task_calls (id, call, state, status, opened, until, heartbeat, heard) VALUES (?, ?, ?, 'open', ?, ?, ?, 0)", func(s *sqlite.Stmt) {
			s.BindText(1, string(t.ID))
			s.BindInt64(2, int64(c.Number))
			s.BindText(3, c.State)
			s.BindInt64(4, micros(t.Entries[len(t.Entries)-1].At))
			s.BindInt64(5, micros(c.Until))
			s.BindInt64(6, c.Heartbeat.Microseconds())
		}, nil)
		if err != nil {
			return err
		}
	}
	if !t.Awaits {
		return nil
	}
	var answered time.Time
	found, err := queryRow(conn, "SELECT answered FROM task_calls WHERE id = ? AND heard > 0 AND status IN ('open', 'answered') AND answered IS NOT NULL LIMIT 1",
		func(s *sqlite.Stmt) { s.BindText(1, string(t.ID)) }, func(s *sqlite.Stmt) { answered = columnTime(s, 0) })
	if err != nil || !found {
		return err
	}
	return hasten(conn, t.ID, answered)
}

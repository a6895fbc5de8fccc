package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// Guarantee serves guarantee.Store and guarantee.Definitions.
type Guarantee struct{ db *DB }

// NewGuarantee uses the system of record.
func NewGuarantee(db *DB) *Guarantee { return &Guarantee{db} }

// forgetAfter is how long an id that expired unused answers "expired"; afterwards it is as if it had never been issued.
const forgetAfter = 30 * 24 * time.Hour

// Issue records fresh ids, and forgets twice as many of those that expired long ago.
func (g *Guarantee) Issue(ctx context.Context, ids []guarantee.Issued) error {
	return g.db.updateBare(ctx, "guarantee.issue", func(conn *sqlite.Conn) error {
		if err := forget(conn, ids); err != nil {
			return err
		}
		for _, id := range ids {
			err := run(conn, "INSERT INTO issued (id, client, expires) VALUES (?, ?, ?)", func(s *sqlite.Stmt) {
				s.BindText(1, string(id.ID))
				s.BindText(2, id.Client)
				s.BindInt64(3, micros(id.Expires))
			}, nil)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func forget(conn *sqlite.Conn, fresh []guarantee.Issued) error {
	if len(fresh) == 0 || fresh[0].At.IsZero() {
		return nil
	}
	return run(conn, "DELETE FROM issued WHERE id IN (SELECT id FROM issued WHERE expires < ? ORDER BY expires LIMIT ?)", func(s *sqlite.Stmt) {
		s.BindInt64(1, micros(fresh[0].At.Add(-forgetAfter)))
		s.BindInt64(2, int64(2*len(fresh)))
	}, nil)
}

// Accept stores a message under its issued id, once.
func (g *Guarantee) Accept(ctx context.Context, a guarantee.Acceptance, now time.Time) (rec guarantee.Record, created bool, err error) {
	attributes, err := json.Marshal(a.Attributes)
	if err != nil {
		return rec, false, err
	}
	entries, err := json.Marshal([]guarantee.Entry{{Version: 1, State: a.State, Event: "accepted", By: a.Client, At: now}})
	if err != nil {
		return rec, false, err
	}
	err = g.db.updateBare(ctx, "guarantee.accept", func(conn *sqlite.Conn) error {
		stored, _, found, err := get(conn, a.ID)
		if err != nil {
			return err
		}
		if found {
			rec = stored
			return same(stored, a)
		}
		if err := take(conn, a, now); err != nil {
			return err
		}
		rec = a.Record
		rec.Version, rec.Accepted, rec.Updated, created = 1, now, now, true
		return insert(conn, &rec, attributes, entries)
	})
	return rec, created, err
}

// same decides what a submission under a used id gets: the stored result for the same digest (A1), a refusal otherwise (A2, A7).
func same(stored guarantee.Record, a guarantee.Acceptance) error {
	switch {
	case stored.Client != a.Client:
		return guarantee.ErrUnknown
	case stored.Digest != a.Digest || stored.Signer != a.Signer:
		return guarantee.ErrReused
	}
	return nil
}

// take uses up an issued id (A7, A8).
func take(conn *sqlite.Conn, a guarantee.Acceptance, now time.Time) error {
	var client string
	var expires int64
	found, err := queryRow(conn, "SELECT client, expires FROM issued WHERE id = ?",
		func(s *sqlite.Stmt) { s.BindText(1, string(a.ID)) },
		func(s *sqlite.Stmt) { client, expires = s.ColumnText(0), s.ColumnInt64(1) })
	switch {
	case err != nil:
		return err
	case !found || client != a.Client:
		return guarantee.ErrUnknown
	case expires < micros(now) || a.Expires.Before(now):
		return guarantee.ErrExpired
	}
	return run(conn, "DELETE FROM issued WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, string(a.ID)) }, nil)
}

func insert(conn *sqlite.Conn, rec *guarantee.Record, attributes, entries []byte) error {
	err := run(conn, `INSERT INTO originals (id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, attributes, body, original)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, func(s *sqlite.Stmt) {
		s.BindText(1, string(rec.ID))
		s.BindText(2, rec.Client)
		s.BindText(3, rec.Type)
		s.BindText(4, rec.Chain)
		s.BindInt64(5, micros(rec.Expires))
		s.BindText(6, string(rec.Scheme))
		s.BindBytes(7, rec.Digest[:])
		s.BindBytes(8, rec.Signer[:])
		s.BindText(9, rec.Workflow)
		s.BindInt64(10, micros(rec.Accepted))
		s.BindBytes(11, attributes)
		s.BindBytes(12, rec.Body)
		s.BindBytes(13, rec.Original)
	}, nil)
	if err != nil {
		return err
	}
	err = run(conn, "INSERT INTO messages (id, version, state, status, place, ext, due, reason, updated) VALUES (?, ?, ?, ?, ?, ?, ?, '', ?)", func(s *sqlite.Stmt) {
		s.BindText(1, string(rec.ID))
		s.BindInt64(2, rec.Version)
		s.BindText(3, rec.State)
		s.BindText(4, string(rec.Status))
		s.BindBytes(5, rec.Place)
		s.BindBytes(6, rec.Ext)
		bindTime(s, 7, rec.Due)
		s.BindInt64(8, micros(rec.Updated))
	}, nil)
	if err != nil {
		return err
	}
	if err := addHistory(conn, rec.ID, 1, entries); err != nil {
		return err
	}
	return emit(conn, guarantee.Snapshot{ID: rec.ID, Version: rec.Version, State: rec.State, Status: rec.Status, Accepted: rec.Accepted, Updated: rec.Updated}, attributes)
}

func addHistory(conn *sqlite.Conn, id message.ID, version int64, entries []byte) error {
	return run(conn, "INSERT INTO history (id, version, entries) VALUES (?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindText(1, string(id))
		s.BindInt64(2, version)
		s.BindBytes(3, entries)
	}, nil)
}

// emit leaves an event in the outbox. The statements here name one table each: SQLite prepares a join anew at every run.
func emit(conn *sqlite.Conn, e guarantee.Snapshot, attributes []byte) error {
	return run(conn, "INSERT INTO outbox (id, version, state, status, reason, archived, accepted, updated, attributes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindText(1, string(e.ID))
		s.BindInt64(2, e.Version)
		s.BindText(3, e.State)
		s.BindText(4, string(e.Status))
		s.BindText(5, e.Reason)
		s.BindBool(6, e.Archived)
		s.BindInt64(7, micros(e.Accepted))
		s.BindInt64(8, micros(e.Updated))
		s.BindBytes(9, attributes)
	}, nil)
}

// Commit applies a batch of transitions in one transaction.
func (g *Guarantee) Commit(ctx context.Context, ts []guarantee.Transition) ([]error, error) {
	entries := make([][]byte, len(ts)) // encoded outside of the transaction
	for i := range ts {
		if len(ts[i].Entries) == 0 {
			continue
		}
		var err error
		if entries[i], err = json.Marshal(ts[i].Entries); err != nil {
			return nil, err
		}
	}
	refused := make([]error, len(ts))
	err := g.db.updateBare(ctx, "guarantee.commit", func(conn *sqlite.Conn) error {
		for i := range ts {
			var err error
			if refused[i], err = apply(conn, &ts[i], entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return refused, nil
}

// apply applies one transition, or tells why it is refused, having written nothing.
func apply(conn *sqlite.Conn, t *guarantee.Transition, entries []byte) (refused, err error) {
	if late, err := unseen(conn, t); late || err != nil {
		return guarantee.ErrStale, err
	}
	applied, err := move(conn, t)
	if err != nil {
		return nil, err
	}
	if !applied {
		return refusal(conn, t.ID)
	}
	if entries != nil {
		if err := follow(conn, t, entries); err != nil {
			return nil, err
		}
	}
	return nil, moveCalls(conn, t)
}

const (
	moveSQL = "UPDATE messages SET version = ?, state = ?, status = ?, place = ?, ext = ?, reason = ?, updated = ? WHERE id = ? AND version = ? AND status NOT IN ('succeeded', 'failed')"
	// The due time has an index: it is written only when it changes.
	moveDueSQL = "UPDATE messages SET version = ?, state = ?, status = ?, place = ?, ext = ?, reason = ?, updated = ?, due = ? WHERE id = ? AND version = ? AND status NOT IN ('succeeded', 'failed')"
)

// move is the compare-and-swap (I4).
func move(conn *sqlite.Conn, t *guarantee.Transition) (applied bool, err error) {
	if len(t.Entries) == 0 {
		return postpone(conn, t)
	}
	query, keep := moveDueSQL, t.Status == guarantee.Running && t.Due.IsZero()
	if keep {
		query = moveSQL
	}
	last := t.Entries[len(t.Entries)-1]
	err = run(conn, query, func(s *sqlite.Stmt) {
		s.BindInt64(1, t.From+int64(len(t.Entries)))
		s.BindText(2, t.State)
		s.BindText(3, string(t.Status))
		s.BindBytes(4, t.Place)
		s.BindBytes(5, t.Ext)
		s.BindText(6, t.Reason)
		s.BindInt64(7, micros(last.At))
		p := 8
		if !keep {
			bindTime(s, p, t.Due)
			p++
		}
		s.BindText(p, string(t.ID))
		s.BindInt64(p+1, t.From)
	}, nil)
	return conn.Changes() == 1, err
}

// postpone changes only when a waiting message is due.
func postpone(conn *sqlite.Conn, t *guarantee.Transition) (applied bool, err error) {
	err = run(conn, "UPDATE messages SET due = ? WHERE id = ? AND version = ? AND status = 'waiting'", func(s *sqlite.Stmt) {
		bindTime(s, 1, t.Due)
		s.BindText(2, string(t.ID))
		s.BindInt64(3, t.From)
	}, nil)
	return conn.Changes() == 1, err
}

// refusal tells why a transition did not apply.
func refusal(conn *sqlite.Conn, id message.ID) (error, error) {
	var why error
	live, err := queryRow(conn, "SELECT status FROM messages WHERE id = ?",
		func(s *sqlite.Stmt) { s.BindText(1, string(id)) },
		func(s *sqlite.Stmt) {
			why = guarantee.ErrStale
			if guarantee.Status(s.ColumnText(0)).Terminal() {
				why = guarantee.ErrFinal
			}
		})
	if err != nil || live {
		return why, err
	}
	archived, err := queryRow(conn, "SELECT 1 FROM archive WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, string(id)) }, func(*sqlite.Stmt) {})
	if archived {
		return guarantee.ErrFinal, err
	}
	return guarantee.ErrUnknown, err
}

// follow writes what goes with a transition: its history, its event, and the move into the archive.
func follow(conn *sqlite.Conn, t *guarantee.Transition, entries []byte) error {
	if err := addHistory(conn, t.ID, t.From+1, entries); err != nil {
		return err
	}
	if err := moveParts(conn, t); err != nil {
		return err
	}
	if t.Workflow != "" {
		if err := pin(conn, t.ID, t.Workflow); err != nil {
			return err
		}
	}
	if t.Archive && !t.Status.Terminal() {
		return fmt.Errorf("archive %s: status %s is not terminal", t.ID, t.Status)
	}
	now := guarantee.Snapshot{
		ID: t.ID, Version: t.From + int64(len(t.Entries)), State: t.State, Status: t.Status, Reason: t.Reason, Archived: t.Archive,
		Updated: t.Entries[len(t.Entries)-1].At,
	}
	if t.Archive {
		return archive(conn, t, now)
	}
	var attributes []byte
	_, err := queryRow(conn, "SELECT accepted, attributes FROM originals WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, string(t.ID)) },
		func(s *sqlite.Stmt) { now.Accepted, attributes = columnTime(s, 0), blob(s, 1) })
	if err != nil {
		return err
	}
	return emit(conn, now, attributes)
}

// originalColumns are those that originals and archive share, in one order.
const originalColumns = "id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, attributes, body, original"

// archive moves a message that has ended.
func archive(conn *sqlite.Conn, t *guarantee.Transition, now guarantee.Snapshot) error {
	history, err := readHistory(conn, t.ID)
	if err != nil {
		return err
	}
	workflow, err := pinnedTo(conn, t.ID)
	if err != nil {
		return err
	}
	var attributes []byte
	one := func(s *sqlite.Stmt) { s.BindText(1, string(t.ID)) }
	err = run(conn, "SELECT "+originalColumns+" FROM originals WHERE id = ?", one, func(o *sqlite.Stmt) error {
		now.Accepted, attributes = columnTime(o, 9), blob(o, 10)
		return run(conn, "INSERT INTO archive ("+originalColumns+", version, state, status, ext, reason, updated, history) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", func(s *sqlite.Stmt) {
			for _, column := range []int{0, 1, 2, 3, 5, 8} {
				s.BindText(column+1, o.ColumnText(column))
			}
			for _, column := range []int{6, 7, 10, 11, 12} {
				s.BindBytes(column+1, blob(o, column))
			}
			if workflow != "" {
				s.BindText(9, workflow)
			}
			s.BindInt64(5, o.ColumnInt64(4))
			s.BindInt64(10, o.ColumnInt64(9))
			s.BindInt64(14, now.Version)
			s.BindText(15, now.State)
			s.BindText(16, string(now.Status))
			s.BindBytes(17, t.Ext)
			s.BindText(18, now.Reason)
			s.BindInt64(19, micros(now.Updated))
			s.BindBytes(20, history)
		}, nil)
	})
	if err != nil {
		return err
	}
	if err := emit(conn, now, attributes); err != nil {
		return err
	}
	for _, query := range []string{"DELETE FROM history WHERE id = ?", "DELETE FROM messages WHERE id = ?", "DELETE FROM originals WHERE id = ?"} {
		if err := run(conn, query, one, nil); err != nil {
			return err
		}
	}
	return nil
}

// readHistory joins the rows of a live message's history into one JSON array.
func readHistory(conn *sqlite.Conn, id message.ID) ([]byte, error) {
	var joined bytes.Buffer
	err := run(conn, "SELECT entries FROM history WHERE id = ? ORDER BY version",
		func(s *sqlite.Stmt) { s.BindText(1, string(id)) },
		func(s *sqlite.Stmt) error {
			part := bytes.TrimSuffix(blob(s, 0), []byte("]"))
			if joined.Len() > 0 {
				part[0] = ','
			}
			joined.Write(part)
			return nil
		})
	joined.WriteByte(']')
	return joined.Bytes(), err
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func bindTime(s *sqlite.Stmt, param int, t time.Time) {
	if t.IsZero() {
		s.BindNull(param)
		return
	}
	s.BindInt64(param, micros(t))
}

func columnTime(s *sqlite.Stmt, column int) time.Time {
	if s.ColumnIsNull(column) {
		return time.Time{}
	}
	return time.UnixMicro(s.ColumnInt64(column)).UTC()
}

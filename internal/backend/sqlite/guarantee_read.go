package sqlite

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

const (
	selectOriginal = "SELECT id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, body, original FROM originals WHERE id = ?"
	selectPresent  = "SELECT version, state, status, ext, reason, updated, place, due, workflow FROM messages WHERE id = ?"
	selectArchive  = `SELECT id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, body, original,
		version, state, status, ext, reason, updated, history FROM archive WHERE id = ?`
)

// original reads the columns of what was accepted.
func original(s *sqlite.Stmt) guarantee.Record {
	rec := guarantee.Record{
		Verified: message.Verified{
			Message: message.Message{
				ID: message.ID(s.ColumnText(0)), Client: s.ColumnText(1), Type: s.ColumnText(2), Chain: s.ColumnText(3),
				Expires: columnTime(s, 4), Body: blob(s, 10),
			},
			Scheme: message.Scheme(s.ColumnText(5)), Original: blob(s, 11),
		},
		Workflow: s.ColumnText(8), Accepted: columnTime(s, 9),
	}
	s.ColumnBytes(6, rec.Digest[:])
	s.ColumnBytes(7, rec.Signer[:])
	return rec
}

// present reads the columns of what changes, the first of them at offset.
func present(s *sqlite.Stmt, offset int, rec *guarantee.Record) {
	rec.Version, rec.State, rec.Status = s.ColumnInt64(offset), s.ColumnText(offset+1), guarantee.Status(s.ColumnText(offset+2))
	rec.Ext, rec.Reason, rec.Updated = blob(s, offset+3), s.ColumnText(offset+4), columnTime(s, offset+5)
}

// live reads a live message. One table a statement: SQLite prepares a join anew at every run.
func live(conn *sqlite.Conn, id message.ID) (rec guarantee.Record, found bool, err error) {
	one := func(s *sqlite.Stmt) { s.BindText(1, string(id)) }
	found, err = queryRow(conn, selectOriginal, one, func(s *sqlite.Stmt) { rec = original(s) })
	if err != nil || !found {
		return rec, false, err
	}
	found, err = queryRow(conn, selectPresent, one, func(s *sqlite.Stmt) {
		present(s, 0, &rec)
		rec.Place, rec.Due = blob(s, 6), columnTime(s, 7)
		if !s.ColumnIsNull(8) {
			rec.Workflow = s.ColumnText(8)
		}
	})
	if err == nil && found {
		rec.Parts, err = readParts(conn, id)
	}
	return rec, found, err
}

// Load reads live messages.
func (g *Guarantee) Load(ctx context.Context, ids []message.ID) (recs []guarantee.Record, err error) {
	recs = make([]guarantee.Record, 0, len(ids))
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		for _, id := range ids {
			rec, found, err := live(conn, id)
			if err != nil {
				return err
			}
			if found {
				recs = append(recs, rec)
			}
		}
		return nil
	})
	return recs, err
}

// Get reads one message with its history.
func (g *Guarantee) Get(ctx context.Context, id message.ID) (rec guarantee.Record, history []guarantee.Entry, err error) {
	var raw []byte
	err = g.db.view(ctx, func(conn *sqlite.Conn) (err error) {
		var found bool
		if rec, raw, found, err = get(conn, id); err != nil {
			return err
		}
		if !found {
			return guarantee.ErrUnknown
		}
		if !rec.Archived {
			raw, err = readHistory(conn, id)
		}
		return err
	})
	if err != nil {
		return rec, nil, err
	}
	if err := json.Unmarshal(raw, &history); err != nil {
		return rec, nil, problem.New(problem.Internal, "storage-corrupt", "the history of %s cannot be read: %w", id, err)
	}
	return rec, history, nil
}

// get reads a message, live or archived; history is given with an archived one.
func get(conn *sqlite.Conn, id message.ID) (rec guarantee.Record, history []byte, found bool, err error) {
	rec, found, err = live(conn, id)
	if found || err != nil {
		return rec, nil, found, err
	}
	found, err = queryRow(conn, selectArchive, func(s *sqlite.Stmt) { s.BindText(1, string(id)) }, func(s *sqlite.Stmt) {
		rec, history = original(s), blob(s, 18)
		present(s, 12, &rec)
		rec.Archived = true
	})
	return rec, history, found, err
}

const (
	scanLive    = "SELECT m.id, m.version, m.state, m.status, m.reason, 0, o.accepted, m.updated, o.attributes, m.id FROM messages m JOIN originals o ON o.id = m.id WHERE m.id > ? ORDER BY m.id LIMIT ?"
	scanArchive = "SELECT id, version, state, status, reason, 1, accepted, updated, attributes, seq FROM archive WHERE seq > ? ORDER BY seq LIMIT ?"
)

// Scan walks the live messages, then the archive. A message archived meanwhile is met again there, never missed.
func (g *Guarantee) Scan(ctx context.Context, from string, limit int) (page []guarantee.Snapshot, next string, err error) {
	if limit <= 0 {
		return nil, "", problem.New(problem.Invalid, "limit-invalid", "scan of Guarantee: limit %d is not positive", limit)
	}
	seq, archived := strings.CutPrefix(from, "archive:")
	var after int64
	if archived {
		if after, err = strconv.ParseInt(seq, 10, 64); err != nil {
			return nil, "", problem.New(problem.Invalid, "cursor-invalid", "the position %q to scan from is not one that Scan gave", from)
		}
	}
	query, last := scanLive, from
	if archived {
		query = scanArchive
	}
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, query, func(s *sqlite.Stmt) {
			if archived {
				s.BindInt64(1, after)
			} else {
				s.BindText(1, from)
			}
			s.BindInt64(2, int64(limit))
		}, func(s *sqlite.Stmt) error {
			snap, err := snapshot(s, 0)
			page, last = append(page, snap), s.ColumnText(9)
			return err
		})
	})
	switch {
	case err != nil:
		return nil, "", err
	case len(page) < limit && archived:
		return page, "", nil
	case len(page) < limit:
		return page, "archive:0", nil
	case archived:
		last = "archive:" + last
	}
	return page, last, nil
}

// snapshot reads the columns of an event or a scan, the first of them at offset.
func snapshot(s *sqlite.Stmt, offset int) (guarantee.Snapshot, error) {
	snap := guarantee.Snapshot{
		ID: message.ID(s.ColumnText(offset)), Version: s.ColumnInt64(offset + 1), State: s.ColumnText(offset + 2),
		Status: guarantee.Status(s.ColumnText(offset + 3)), Reason: s.ColumnText(offset + 4), Archived: s.ColumnBool(offset + 5),
		Accepted: columnTime(s, offset+6), Updated: columnTime(s, offset+7),
	}
	if err := json.Unmarshal(blob(s, offset+8), &snap.Attributes); err != nil {
		return snap, problem.New(problem.Internal, "storage-corrupt", "the attributes of %s cannot be read: %w", snap.ID, err)
	}
	return snap, nil
}

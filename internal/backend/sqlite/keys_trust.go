package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/problem"
)

// Distrust quarantines a key until an operator has acknowledged what the chain shows.
func (k *Keys) Distrust(ctx context.Context, id, by, why string) error {
	return k.db.update(ctx, "keys.distrust", func(conn *sqlite.Conn) error {
		row, err := readKey(conn, id)
		if err != nil {
			return err
		}
		return distrust(conn, &row, by, why)
	})
}

// distrust is recorded once.
func distrust(conn *sqlite.Conn, row *key.Key, by, why string) error {
	if err := setAside(conn, row, why); err != nil {
		return err
	}
	err := run(conn, "UPDATE keys SET distrust = ? WHERE id = ? AND distrust = ''", func(s *sqlite.Stmt) {
		s.BindText(1, why)
		s.BindText(2, row.ID)
	}, nil)
	if err != nil || conn.Changes() == 0 {
		return err
	}
	return insertEntry(conn, row.ID, key.EntryDistrusted, by, why)
}

// insertEntry notes what was done, with the highest nonce that the chain has shown.
func insertEntry(conn *sqlite.Conn, id, what, by, why string) error {
	return run(conn, "INSERT INTO key_entries (key, what, by, why, nonce, at) SELECT seq, ?, ?, ?, seen, ? FROM keys WHERE id = ?", func(s *sqlite.Stmt) {
		s.BindText(1, what)
		s.BindText(2, by)
		s.BindText(3, why)
		s.BindInt64(4, micros(time.Now()))
		s.BindText(5, id)
	}, nil)
}

// Acknowledge lets a key be used again.
func (k *Keys) Acknowledge(ctx context.Context, id string, chainNonce uint64, by, why string) error {
	var row key.Key
	err := k.db.update(ctx, "keys.acknowledge", func(conn *sqlite.Conn) (err error) {
		if row, err = readKey(conn, id); err != nil {
			return err
		}
		if err := acknowledgeable(conn, id, chainNonce); err != nil {
			return err
		}
		err = run(conn, "UPDATE keys SET distrust = '', reason = '', status = 'free', holder = '', nonce = max(nonce, seen) WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, id) }, nil)
		if err != nil {
			return err
		}
		return insertEntry(conn, id, key.EntryAcknowledged, by, why)
	})
	if err == nil {
		k.queue.Freed(id, line.PoolOf(row.Chain, row.Pool))
	}
	return err
}

func acknowledgeable(conn *sqlite.Conn, id string, chainNonce uint64) error {
	var seen uint64
	reason := ""
	_, err := queryRow(conn, "SELECT seen, distrust FROM keys WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, id) },
		func(s *sqlite.Stmt) { seen, reason = uint64(s.ColumnInt64(0)), s.ColumnText(1) })
	refuse := func(format string, args ...any) error {
		return problem.New(key.ErrUnacknowledged.Kind, key.ErrUnacknowledged.Code, "the key %s stays as it is: %s", id, fmt.Sprintf(format, args...))
	}
	switch {
	case err != nil:
		return err
	case reason == "":
		return refuse("it is trusted, so there is nothing to acknowledge")
	case seen != chainNonce:
		return refuse("the chain has spent %d of its nonces, and %d were acknowledged; find out what they were spent on", seen, chainNonce)
	}
	return nil
}

// Entries reads what was done about the trust in a key.
func (k *Keys) Entries(ctx context.Context, id string) (entries []key.Entry, err error) {
	err = k.db.view(ctx, func(conn *sqlite.Conn) error {
		if _, err := readKey(conn, id); err != nil {
			return err
		}
		return run(conn, "SELECT what, by, why, nonce, at FROM key_entries WHERE key = (SELECT seq FROM keys WHERE id = ?) ORDER BY seq", func(s *sqlite.Stmt) { s.BindText(1, id) },
			func(s *sqlite.Stmt) error {
				entries = append(entries, key.Entry{What: s.ColumnText(0), By: s.ColumnText(1), Why: s.ColumnText(2), Nonce: uint64(s.ColumnInt64(3)), At: time.UnixMicro(s.ColumnInt64(4))})
				return nil
			})
	})
	return entries, err
}

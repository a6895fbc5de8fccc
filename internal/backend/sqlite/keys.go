package sqlite

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/problem"
)

// Keys serves key.Registry. Make one for a DB.
//
// The table is the truth about who holds a key; it decides, in the writing goroutine, one request after the other. In
// memory are only what ends with the process: when each lease granted by this process expires, by the monotonic clock,
// and who waits (package line). Therefore a row that says "leased" and is not in memory is what a process before this one
// left, or a lease whose commit was reported as failed: either way nobody uses it, and it is quarantined.
type Keys struct {
	db    *DB
	queue line.Queue

	mu    sync.Mutex
	held  map[string]*hold // by key id
	clock int64            // the newest last_used: kept growing, so that a clock set back disturbs no order
}

// NewKeys uses the system of record.
func NewKeys(db *DB) *Keys { return &Keys{db: db, held: map[string]*hold{}} }

const keyColumns = "id, chain, address, pool, status, holder, fence, nonce, known, last_used, reason"

func keyRow(s *sqlite.Stmt) key.Key {
	k := key.Key{
		ID: s.ColumnText(0), Chain: s.ColumnText(1), Address: s.ColumnText(2), Pool: s.ColumnText(3),
		Status: key.Status(s.ColumnText(4)), Holder: s.ColumnText(5), Fence: uint64(s.ColumnInt64(6)),
		Nonce: uint64(s.ColumnInt64(7)), Known: s.ColumnBool(8), Reason: s.ColumnText(10),
	}
	if used := s.ColumnInt64(9); used != 0 {
		k.LastUsed = time.UnixMicro(used)
	}
	return k
}

// readKeys runs a query for keyColumns.
func readKeys(conn *sqlite.Conn, rest string, bind func(*sqlite.Stmt)) (keys []key.Key, err error) {
	err = run(conn, "SELECT "+keyColumns+" FROM keys "+rest, bind, func(s *sqlite.Stmt) error {
		keys = append(keys, keyRow(s))
		return nil
	})
	return keys, err
}

func readKey(conn *sqlite.Conn, id string) (key.Key, error) {
	keys, err := readKeys(conn, "WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, id) })
	if err == nil && len(keys) == 0 {
		err = problem.New(key.ErrUnknown.Kind, key.ErrUnknown.Code, "there is no key %s", id)
	}
	if err != nil {
		return key.Key{}, err
	}
	return keys[0], nil
}

// Get reads one key.
func (k *Keys) Get(ctx context.Context, id string) (found key.Key, err error) {
	err = k.db.view(ctx, func(conn *sqlite.Conn) error {
		found, err = readKey(conn, id)
		return err
	})
	return found, err
}

// List reads all keys, by id.
func (k *Keys) List(ctx context.Context) (keys []key.Key, err error) {
	err = k.db.view(ctx, func(conn *sqlite.Conn) error {
		keys, err = readKeys(conn, "ORDER BY id", nil)
		return err
	})
	return keys, err
}

// Add registers a key.
func (k *Keys) Add(ctx context.Context, added key.Key) error {
	if added.ID == "" || added.Chain == "" || added.Address == "" {
		return problem.New(key.ErrInvalid.Kind, key.ErrInvalid.Code, "a key needs an id, a chain and an address; got %q, %q, %q", added.ID, added.Chain, added.Address)
	}
	err := k.db.update(ctx, "keys.add", func(conn *sqlite.Conn) error {
		err := run(conn, "INSERT INTO keys (id, chain, address, pool) VALUES (?, ?, ?, ?)", func(s *sqlite.Stmt) {
			s.BindText(1, added.ID)
			s.BindText(2, added.Chain)
			s.BindText(3, added.Address)
			s.BindText(4, added.Pool)
		}, nil)
		if sqlite.ErrCode(err) == sqlite.ResultConstraintUnique {
			return problem.New(key.ErrExists.Kind, key.ErrExists.Code, "the key %s, or another one with the address %s on %s, is registered already", added.ID, added.Address, added.Chain)
		}
		return err
	})
	if err == nil {
		k.queue.Freed(added.ID, line.PoolOf(added.Chain, added.Pool))
	}
	return err
}

// Release ends a lease.
func (k *Keys) Release(ctx context.Context, l key.Lease) error {
	err := k.db.update(ctx, "keys.release", func(conn *sqlite.Conn) error {
		err := run(conn, "UPDATE keys SET status = 'free', holder = '' WHERE id = ? AND status = 'leased' AND fence = ? AND holder = ?", func(s *sqlite.Stmt) {
			s.BindText(1, l.Key.ID)
			s.BindInt64(2, int64(l.Fence))
			s.BindText(3, l.Holder)
		}, nil)
		if err != nil || conn.Changes() == 1 {
			return err
		}
		return problem.New(key.ErrStale.Kind, key.ErrStale.Code, "the lease of %s on the key %s with the fence %d has ended; nothing was released", l.Holder, l.Key.ID, l.Fence)
	})
	if err == nil {
		k.released(l)
	}
	// Whatever the answer: who waits next finds out from the table.
	k.queue.Freed(l.Key.ID, line.PoolOf(l.Key.Chain, l.Key.Pool))
	return err
}

// Quarantine sets aside the keys of failed holders.
func (k *Keys) Quarantine(ctx context.Context, lives func(key.Key) bool) (aside []key.Key, err error) {
	err = k.db.update(ctx, "keys.quarantine", func(conn *sqlite.Conn) error {
		leased, err := readKeys(conn, "WHERE status = 'leased' ORDER BY id", nil)
		if err != nil {
			return err
		}
		for _, l := range leased {
			_, reason := k.judge(l)
			if reason == "" && !lives(l) {
				reason = fmt.Sprintf("held by %s, which is no longer running", l.Holder)
			}
			if reason == "" {
				continue
			}
			if err := setAside(conn, &l, reason); err != nil {
				return err
			}
			aside = append(aside, l)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, l := range aside {
		k.queue.Freed(l.ID, line.PoolOf(l.Chain, l.Pool)) // who waits for it learns that there is nothing to wait for
	}
	return aside, nil
}

// setAside quarantines a key; its holder stays on record (I10).
func setAside(conn *sqlite.Conn, k *key.Key, reason string) error {
	k.Status, k.Reason = key.Quarantined, reason
	return run(conn, "UPDATE keys SET status = 'quarantined', reason = ? WHERE id = ?", func(s *sqlite.Stmt) {
		s.BindText(1, reason)
		s.BindText(2, k.ID)
	}, nil)
}

// Reconcile compares with the chain.
func (k *Keys) Reconcile(ctx context.Context, id string, chainNonce uint64) error {
	if chainNonce > math.MaxInt64 {
		return problem.New(key.ErrInvalid.Kind, key.ErrInvalid.Code, "no chain counts to %d; the node's answer for the key %s is wrong", chainNonce, id)
	}
	var row key.Key
	var refusal error
	err := k.db.update(ctx, "keys.reconcile", func(conn *sqlite.Conn) (err error) {
		row, refusal, err = reconcile(conn, id, chainNonce)
		return err
	})
	if err != nil {
		return err
	}
	k.queue.Freed(id, line.PoolOf(row.Chain, row.Pool))
	return refusal
}

// reconcile compares inside a transaction. A refusal is recorded, too, and is therefore not the transaction's error.
func reconcile(conn *sqlite.Conn, id string, chainNonce uint64) (row key.Key, refusal, err error) {
	if row, err = readKey(conn, id); err != nil {
		return row, nil, err
	}
	seen, err := raiseSeen(conn, id, chainNonce)
	if err != nil {
		return row, nil, err
	}
	foreign := func(reason string) (key.Key, error, error) {
		refusal = problem.New(key.ErrForeignUse.Kind, key.ErrForeignUse.Code, "the key %s stays quarantined: %s; find out which before it is used again", id, reason)
		return row, refusal, distrust(conn, &row, "aval", reason)
	}
	before := ""
	if _, err := queryRow(conn, "SELECT distrust FROM keys WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, id) }, func(s *sqlite.Stmt) { before = s.ColumnText(0) }); err != nil {
		return row, nil, err
	}
	if row.Known && seen > row.Nonce {
		return foreign(fmt.Sprintf("the chain has seen %d transactions of %s, Aval decided %d: the key is used by something else, or the data folder was restored", seen, row.Address, row.Nonce))
	}
	if before != "" {
		return foreign(before)
	}
	if row.Known && row.Status != key.Quarantined {
		return row, nil, nil
	}
	return row, nil, run(conn, `UPDATE keys SET settled = iif(known, settled, max(nonce, seen)), known = 1, nonce = max(nonce, seen), reason = '',
		holder = iif(status = 'quarantined', '', holder), status = iif(status = 'quarantined', 'free', status) WHERE id = ?`,
		func(s *sqlite.Stmt) { s.BindText(1, id) }, nil)
}

// raiseSeen remembers the highest nonce that the chain has shown, so that a node that lags behind cannot clear a key that
// a better one has incriminated.
func raiseSeen(conn *sqlite.Conn, id string, chainNonce uint64) (seen uint64, err error) {
	_, err = queryRow(conn, "UPDATE keys SET seen = max(seen, ?) WHERE id = ? RETURNING seen", func(s *sqlite.Stmt) {
		s.BindInt64(1, int64(chainNonce))
		s.BindText(2, id)
	}, func(s *sqlite.Stmt) { seen = uint64(s.ColumnInt64(0)) })
	return seen, err
}

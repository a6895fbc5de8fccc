package postgres

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/problem"
)

// Keys serves key.Registry. Make one for a DB.
//
// The table is the truth about who holds a key. A lease names the instance that it was granted to: once that has ended, or
// the lease's time is over by the database's clock, whoever meets it sets the key aside. Of the leases of its own process a
// registry remembers when they expire, by the monotonic clock; a row that names this instance and is not remembered is a
// lease whose commit was reported as failed, so nobody uses it. Who waits in this process is served in order of asking;
// waiters of other processes look again every few milliseconds and get what is free then.
type Keys struct {
	db    *DB
	queue line.Queue

	mu       sync.Mutex
	held     map[string]*hold // by key id
	granting int              // leases under way, of which it is not known yet what they got
}

// NewKeys uses the system of record.
func NewKeys(db *DB) *Keys { return &Keys{db: db, held: map[string]*hold{}} }

const keyColumns = "id, chain, address, pool, status, holder, fence, nonce, known, last_used, reason"

// keyRow reads keyColumns.
func keyRow(row pgx.CollectableRow) (k key.Key, err error) {
	var used int64
	err = row.Scan(&k.ID, &k.Chain, &k.Address, &k.Pool, &k.Status, &k.Holder, &k.Fence, &k.Nonce, &k.Known, &used, &k.Reason)
	if used != 0 {
		k.LastUsed = time.UnixMicro(used)
	}
	return k, err
}

// Get reads one key.
func (k *Keys) Get(ctx context.Context, id string) (key.Key, error) {
	return k.read(ctx, k.db.pool, id, "")
}

func (k *Keys) read(ctx context.Context, from querier, id, lock string) (key.Key, error) {
	found, there, err := one(ctx, k.db, from, keyRow, "SELECT "+keyColumns+" FROM keys WHERE id = $1"+lock, clean(id))
	if err == nil && !there {
		err = problem.New(key.ErrUnknown.Kind, key.ErrUnknown.Code, "there is no key %s", id)
	}
	return found, err
}

// List reads all keys, by id.
func (k *Keys) List(ctx context.Context) ([]key.Key, error) {
	return rows(ctx, k.db, k.db.pool, keyRow, "SELECT "+keyColumns+" FROM keys ORDER BY id")
}

// Add registers a key.
func (k *Keys) Add(ctx context.Context, added key.Key) error {
	if added.ID == "" || added.Chain == "" || added.Address == "" {
		return problem.New(key.ErrInvalid.Kind, key.ErrInvalid.Code, "a key needs an id, a chain and an address; got %q, %q, %q", added.ID, added.Chain, added.Address)
	}
	err := k.db.update(ctx, "keys.add", func() error {
		_, err := k.db.pool.Exec(ctx, "INSERT INTO keys (id, chain, address, pool) VALUES ($1, $2, $3, $4)", added.ID, added.Chain, added.Address, added.Pool)
		if stateIs(err, uniqueViolation) {
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
	err := k.db.update(ctx, "keys.release", func() error {
		tag, err := k.db.pool.Exec(ctx, `UPDATE keys SET status = 'free', holder = '', instance = 0, expires = NULL
			WHERE id = $1 AND status = 'leased' AND fence = $2 AND holder = $3`, clean(l.Key.ID), l.Fence, l.Holder)
		if err == nil && tag.RowsAffected() == 0 {
			err = problem.New(key.ErrStale.Kind, key.ErrStale.Code, "the lease of %s on the key %s with the fence %d has ended; nothing was released", l.Holder, l.Key.ID, l.Fence)
		}
		return err
	})
	if err == nil {
		k.released(l)
	}
	// Whatever the answer: who waits next finds out from the table.
	k.queue.Freed(l.Key.ID, line.PoolOf(l.Key.Chain, l.Key.Pool))
	return err
}

// Quarantine sets aside the keys of failed holders. Holders in other processes are judged by whether their instance lives,
// those in this one by their name, too. It may be called at any time: what is being granted meanwhile is left alone.
func (k *Keys) Quarantine(ctx context.Context, lives func(key.Key) bool) (aside []key.Key, err error) {
	err = k.db.transaction(ctx, "keys.quarantine", func(tx pgx.Tx) error {
		aside = nil
		leases, err := k.leases(ctx, tx, "WHERE status = 'leased' ORDER BY id FOR UPDATE")
		if err != nil {
			return err
		}
		for _, l := range leases {
			reason := k.judge(l)
			if reason == "" && l.mine && !lives(l.Key) {
				reason = fmt.Sprintf("held by %s, which is no longer running", l.Holder)
			}
			if reason == "" {
				continue
			}
			if err := setAside(ctx, tx, &l.Key, reason); err != nil {
				return err
			}
			aside = append(aside, l.Key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return aside, nil
}

// setAside quarantines a key, unless its lease has ended meanwhile; its holder stays on record (I10).
func setAside(ctx context.Context, tx pgx.Tx, k *key.Key, reason string) error {
	k.Status, k.Reason = key.Quarantined, reason
	_, err := tx.Exec(ctx, "UPDATE keys SET status = 'quarantined', reason = $2, instance = 0, expires = NULL WHERE id = $1", k.ID, clean(reason))
	return err
}

// Reconcile compares with the chain.
func (k *Keys) Reconcile(ctx context.Context, id string, chainNonce uint64) error {
	if chainNonce > math.MaxInt64 {
		return problem.New(key.ErrInvalid.Kind, key.ErrInvalid.Code, "no chain counts to %d; the node's answer for the key %s is wrong", chainNonce, id)
	}
	var row key.Key
	var refusal error
	err := k.db.transaction(ctx, "keys.reconcile", func(tx pgx.Tx) (err error) {
		row, refusal, err = k.reconcile(ctx, tx, id, int64(chainNonce))
		return err
	})
	if err != nil {
		return err
	}
	k.queue.Freed(id, line.PoolOf(row.Chain, row.Pool))
	return refusal
}

// reconcile compares inside a transaction. A refusal is recorded, too, and is therefore not the transaction's error. The
// highest nonce that the chain has shown is remembered, so that a node that lags behind cannot clear a key that a better
// one has incriminated.
func (k *Keys) reconcile(ctx context.Context, tx pgx.Tx, id string, chainNonce int64) (row key.Key, refusal, err error) {
	if row, err = k.read(ctx, tx, id, " FOR UPDATE"); err != nil {
		return row, nil, err
	}
	var seen uint64
	var before string
	if err := tx.QueryRow(ctx, "UPDATE keys SET seen = greatest(seen, $2) WHERE id = $1 RETURNING seen, distrust", id, chainNonce).Scan(&seen, &before); err != nil {
		return row, nil, err
	}
	if row.Known && seen > row.Nonce || before != "" {
		reason := before
		if reason == "" {
			reason = fmt.Sprintf("the chain has seen %d transactions of %s, Aval decided %d: the key is used by something else, or the database was restored", seen, row.Address, row.Nonce)
		}
		refusal = problem.New(key.ErrForeignUse.Kind, key.ErrForeignUse.Code, "the key %s stays quarantined: %s; find out which before it is used again", id, reason)
		return row, refusal, distrust(ctx, tx, &row, "aval", reason)
	}
	if row.Known && row.Status != key.Quarantined {
		return row, nil, nil
	}
	_, err = tx.Exec(ctx, `UPDATE keys SET settled = CASE WHEN known THEN settled ELSE greatest(nonce, seen) END, known = true, nonce = greatest(nonce, seen), reason = '',
		holder = CASE WHEN status = 'quarantined' THEN '' ELSE holder END, status = CASE WHEN status = 'quarantined' THEN 'free' ELSE status END WHERE id = $1`, id)
	return row, nil, err
}

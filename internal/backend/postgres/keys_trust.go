package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/problem"
)

// Distrust quarantines a key until an operator has acknowledged what the chain shows.
func (k *Keys) Distrust(ctx context.Context, id, by, why string) error {
	return k.db.transaction(ctx, "keys.distrust", func(tx pgx.Tx) error {
		row, err := k.read(ctx, tx, id, " FOR UPDATE")
		if err != nil {
			return err
		}
		return distrust(ctx, tx, &row, by, why)
	})
}

// distrust is recorded once. The caller has locked the key.
func distrust(ctx context.Context, tx pgx.Tx, row *key.Key, by, why string) error {
	if err := setAside(ctx, tx, row, why); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, "UPDATE keys SET distrust = $2 WHERE id = $1 AND distrust = ''", row.ID, clean(why))
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return insertEntry(ctx, tx, row.ID, key.EntryDistrusted, by, why)
}

// insertEntry notes what was done, with the highest nonce that the chain has shown.
func insertEntry(ctx context.Context, tx pgx.Tx, id, what, by, why string) error {
	_, err := tx.Exec(ctx, "INSERT INTO key_entries (key, what, by, why, nonce, at) SELECT seq, $2, $3, $4, seen, $5 FROM keys WHERE id = $1",
		id, what, clean(by), clean(why), micros(time.Now()))
	return err
}

// Acknowledge lets a key be used again.
func (k *Keys) Acknowledge(ctx context.Context, id string, chainNonce uint64, by, why string) error {
	var row key.Key
	err := k.db.transaction(ctx, "keys.acknowledge", func(tx pgx.Tx) (err error) {
		if row, err = k.read(ctx, tx, id, " FOR UPDATE"); err != nil {
			return err
		}
		if err := acknowledgeable(ctx, tx, id, chainNonce); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE keys SET distrust = '', reason = '', status = 'free', holder = '', nonce = greatest(nonce, seen) WHERE id = $1", id)
		if err != nil {
			return err
		}
		return insertEntry(ctx, tx, id, key.EntryAcknowledged, by, why)
	})
	if err == nil {
		k.queue.Freed(id, line.PoolOf(row.Chain, row.Pool))
	}
	return err
}

func acknowledgeable(ctx context.Context, tx pgx.Tx, id string, chainNonce uint64) error {
	var seen uint64
	var reason string
	if err := tx.QueryRow(ctx, "SELECT seen, distrust FROM keys WHERE id = $1", id).Scan(&seen, &reason); err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return problem.New(key.ErrUnacknowledged.Kind, key.ErrUnacknowledged.Code, "the key %s stays as it is: %s", id, fmt.Sprintf(format, args...))
	}
	switch {
	case reason == "":
		return refuse("it is trusted, so there is nothing to acknowledge")
	case seen != chainNonce:
		return refuse("the chain has spent %d of its nonces, and %d were acknowledged; find out what they were spent on", seen, chainNonce)
	}
	return nil
}

// Entries reads what was done about the trust in a key.
func (k *Keys) Entries(ctx context.Context, id string) ([]key.Entry, error) {
	if _, err := k.Get(ctx, id); err != nil {
		return nil, err
	}
	return rows(ctx, k.db, k.db.pool, func(row pgx.CollectableRow) (e key.Entry, err error) {
		var at int64
		err = row.Scan(&e.What, &e.By, &e.Why, &e.Nonce, &at)
		e.At = time.UnixMicro(at)
		return e, err
	}, "SELECT what, by, why, nonce, at FROM key_entries WHERE key = (SELECT seq FROM keys WHERE id = $1) ORDER BY seq", clean(id))
}

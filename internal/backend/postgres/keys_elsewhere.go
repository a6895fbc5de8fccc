package postgres

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// Leases is what the decision table asks of a registry that is not in this database.
type Leases interface {
	Get(ctx context.Context, id string) (key.Key, error)
}

// NewDecisionsUnder makes decisions under the leases of a registry elsewhere. It is asked before the transaction, so that a lease
// that has ended decides nothing; what happens between its answer and the commit is met by the row of the key in this database.
// The row holds the highest fence that was seen here, with its holder: a lower one is refused, and so is the same one from another
// holder, or after the key was set aside (I8, A15). A higher one says that the registry has granted the key anew.
func NewDecisionsUnder(db *DB, registry Leases) *Decisions { return &Decisions{db, registry} }

// present is the key as its registry knows it, if the lease is its present one.
func (d *Decisions) present(ctx context.Context, l key.Lease) (key.Key, error) {
	k, err := d.registry.Get(ctx, l.Key.ID)
	switch {
	case errors.Is(err, key.ErrUnknown),
		err == nil && (k.Status != key.Leased || k.Fence != l.Fence || k.Holder != l.Holder || k.Chain != l.Key.Chain || k.Address != l.Key.Address):
		return k, stale(l.Holder, l.Key.ID, l.Fence)
	case err == nil && !k.Known:
		return k, unreconciled(k.ID)
	}
	return k, err
}

// The row of a key that is leased elsewhere. Its lane begins at the first nonce that was known.
const (
	mirrorSQL = `INSERT INTO keys AS k (id, chain, address, pool, status, holder, fence, nonce, settled, known, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, holder = excluded.holder, fence = excluded.fence, reason = excluded.reason,
			instance = 0, expires = NULL, nonce = greatest(k.nonce, excluded.nonce), known = k.known OR excluded.known,
			settled = CASE WHEN k.known THEN k.settled ELSE greatest(k.nonce, excluded.nonce) END
		WHERE k.chain = excluded.chain AND k.address = excluded.address AND `
	raiseSQL = mirrorSQL + "(k.fence < excluded.fence OR k.fence = excluded.fence AND k.status = 'leased' AND k.holder = excluded.holder) RETURNING seq, nonce"
	noteSQL  = mirrorSQL + "k.fence <= excluded.fence"
)

func mirrored(k key.Key) []any {
	return []any{clean(k.ID), clean(k.Chain), clean(k.Address), clean(k.Pool), string(k.Status), clean(k.Holder), int64(k.Fence), int64(k.Nonce), k.Known, clean(k.Reason)}
}

// raised locks the key's row and raises its fence to that of the lease under which the registry has it.
func raised(ctx context.Context, tx pgx.Tx, k key.Key) (seq, nonce int64, err error) {
	k.Reason = ""
	if err = tx.QueryRow(ctx, raiseSQL, mirrored(k)...).Scan(&seq, &nonce); isNone(err) {
		err = stale(k.Holder, k.ID, k.Fence)
	}
	return seq, nonce, err
}

// Mirror serves key.Mirror.
type Mirror struct{ db *DB }

// NewMirror uses the system of record.
func NewMirror(db *DB) *Mirror { return &Mirror{db} }

// Keys reads what is known here of keys that are leased elsewhere.
func (m *Mirror) Keys(ctx context.Context, ids ...string) ([]key.Key, error) {
	if len(ids) == 0 {
		return rows(ctx, m.db, m.db.pool, keyRow, "SELECT "+keyColumns+" FROM keys ORDER BY id")
	}
	for i := range ids {
		ids[i] = clean(ids[i])
	}
	return rows(ctx, m.db, m.db.pool, keyRow, "SELECT "+keyColumns+" FROM keys WHERE id = ANY ($1) ORDER BY id", ids)
}

// Note keeps what the registry says of a key.
func (m *Mirror) Note(ctx context.Context, k key.Key) error {
	return m.db.update(ctx, "keys.note", func() error {
		_, err := m.db.pool.Exec(ctx, noteSQL, mirrored(k)...)
		return err
	})
}

// Elsewhere gives the name by which a registry that is not in this database has to know it; found is the one that the registry knows.
// Where that is "", the registry is nobody's yet, and the keys of this database are leased by it from now on and for good. Otherwise
// nothing is changed, and a database that has no name gives "".
func (db *DB) Elsewhere(ctx context.Context, found string) (name string, err error) {
	if found == "" {
		if _, err := db.pool.Exec(ctx, "INSERT INTO key_registry (name) VALUES ($1) ON CONFLICT DO NOTHING", rand.Text()); err != nil {
			return "", db.describe(err)
		}
	}
	name, _, err = one(ctx, db, db.pool, pgx.RowTo[string], "SELECT name FROM key_registry")
	return name, err
}

// Here refuses a database whose keys are leased elsewhere: two registries would lease each key to two workers, and most of what
// they wanted to sign would be refused by its fence.
func (db *DB) Here(ctx context.Context) error {
	_, elsewhere, err := one(ctx, db, db.pool, pgx.RowTo[string], "SELECT name FROM key_registry")
	if err == nil && elsewhere {
		err = problem.New(problem.Invalid, "keys-elsewhere", "the keys of the database %s are leased by a registry outside of it; set etcd.endpoints as the other processes of this cluster have it", db.where)
	}
	return err
}

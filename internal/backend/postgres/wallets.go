package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/wallet"
)

// Wallets is wallet.Store on the system of record.
type Wallets struct{ db *DB }

// NewWallets serves the port from db.
func NewWallets(db *DB) *Wallets { return &Wallets{db} }

const walletSQL = "SELECT id, owner, name, chain, address, key, created FROM wallets "

// walletRow reads the columns of walletSQL.
func walletRow(row pgx.CollectableRow) (w wallet.Wallet, err error) {
	var created int64
	err = row.Scan(&w.ID, &w.Owner, &w.Name, &w.Chain, &w.Address, &w.Key, &created)
	w.Created = time.UnixMicro(created).UTC()
	return w, err
}

// Add keeps a new wallet; the table's unique constraints decide races.
func (w *Wallets) Add(ctx context.Context, added wallet.Wallet) error {
	return w.db.update(ctx, "wallets.add", func() error {
		_, err := w.db.pool.Exec(ctx, "INSERT INTO wallets (id, owner, name, chain, address, key, created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			added.ID, added.Owner, clean(added.Name), added.Chain, added.Address, added.Key, micros(added.Created))
		if stateIs(err, uniqueViolation) {
			return wallet.ErrExists
		}
		return err
	})
}

// Get reads one by id.
func (w *Wallets) Get(ctx context.Context, id string) (wallet.Wallet, error) {
	return w.one(ctx, "WHERE id = $1", clean(id))
}

// Named reads one by owner and name.
func (w *Wallets) Named(ctx context.Context, owner, name string) (wallet.Wallet, error) {
	return w.one(ctx, "WHERE owner = $1 AND name = $2", clean(owner), clean(name))
}

func (w *Wallets) one(ctx context.Context, where string, args ...any) (wallet.Wallet, error) {
	found, there, err := one(ctx, w.db, w.db.pool, walletRow, walletSQL+where, args...)
	if err == nil && !there {
		err = wallet.ErrUnknown
	}
	return found, err
}

// List gives wallets by id, and so by creation.
func (w *Wallets) List(ctx context.Context, owner, cursor string, limit int) ([]wallet.Wallet, error) {
	if owner == "" {
		return rows(ctx, w.db, w.db.pool, walletRow, walletSQL+"WHERE id > $1 ORDER BY id LIMIT $2", clean(cursor), limit)
	}
	return rows(ctx, w.db, w.db.pool, walletRow, walletSQL+"WHERE owner = $3 AND id > $1 ORDER BY id LIMIT $2", clean(cursor), limit, clean(owner))
}

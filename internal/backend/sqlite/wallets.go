package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/wallet"
)

// Wallets is wallet.Store on the system of record.
type Wallets struct{ db *DB }

// NewWallets serves the port from db.
func NewWallets(db *DB) *Wallets { return &Wallets{db} }

const selectWallet = "SELECT id, owner, name, chain, address, key, created FROM wallets"

// Add keeps a new wallet; the table's unique constraints decide races.
func (w *Wallets) Add(ctx context.Context, wal wallet.Wallet) error {
	return w.db.update(ctx, "wallets.add", func(conn *sqlite.Conn) error {
		err := run(conn, "INSERT INTO wallets (id, owner, name, chain, address, key, created) VALUES (?, ?, ?, ?, ?, ?, ?)", func(s *sqlite.Stmt) {
			for i, text := range []string{wal.ID, wal.Owner, wal.Name, wal.Chain, wal.Address, wal.Key} {
				s.BindText(i+1, text)
			}
			s.BindInt64(7, micros(wal.Created))
		}, nil)
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint {
			return wallet.ErrExists
		}
		return err
	})
}

// Get reads one by id.
func (w *Wallets) Get(ctx context.Context, id string) (wallet.Wallet, error) {
	return w.one(ctx, " WHERE id = ?", id)
}

// Named reads one by owner and name.
func (w *Wallets) Named(ctx context.Context, owner, name string) (wallet.Wallet, error) {
	return w.one(ctx, " WHERE owner = ? AND name = ?", owner, name)
}

func (w *Wallets) one(ctx context.Context, where string, texts ...string) (wal wallet.Wallet, err error) {
	found := false
	err = w.db.view(ctx, func(conn *sqlite.Conn) (err error) {
		found, err = queryRow(conn, selectWallet+where, func(s *sqlite.Stmt) {
			for i, text := range texts {
				s.BindText(i+1, text)
			}
		}, func(s *sqlite.Stmt) { wal = readWallet(s) })
		return err
	})
	if err == nil && !found {
		err = wallet.ErrUnknown
	}
	return wal, err
}

// List gives wallets by id, and so by creation.
func (w *Wallets) List(ctx context.Context, owner, cursor string, limit int) (list []wallet.Wallet, err error) {
	query := selectWallet + " WHERE id > ?2 ORDER BY id LIMIT ?3"
	if owner != "" {
		query = selectWallet + " WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
	}
	err = w.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, query, func(s *sqlite.Stmt) {
			if owner != "" {
				s.BindText(1, owner)
			}
			s.BindText(2, cursor)
			s.BindInt64(3, int64(limit))
		}, func(s *sqlite.Stmt) error {
			list = append(list, readWallet(s))
			return nil
		})
	})
	return list, err
}

func readWallet(s *sqlite.Stmt) wallet.Wallet {
	return wallet.Wallet{
		ID: s.ColumnText(0), Owner: s.ColumnText(1), Name: s.ColumnText(2), Chain: s.ColumnText(3),
		Address: s.ColumnText(4), Key: s.ColumnText(5), Created: columnTime(s, 6),
	}
}

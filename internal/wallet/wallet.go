// Package wallet is the inventory of custody wallets: an address on a chain, the key behind it, the client that owns it.
package wallet

import (
	"context"
	"time"
)

// Wallet is an address that Aval signs for.
type Wallet struct {
	ID      string // "wal_…"
	Owner   string // client id
	Name    string
	Chain   string // CAIP-2
	Address string
	Key     string // key id
	Created time.Time
}

// Store is the port to the inventory. Durability: what returned nil is on stable storage.
// Refusals: wallet-unknown. Its conformance suite is wallettest.
type Store interface {
	Add(ctx context.Context, w Wallet) error
	Get(ctx context.Context, id string) (Wallet, error)
	// List gives an owner's wallets, all for "", by creation; at most limit after the id in cursor.
	List(ctx context.Context, owner, cursor string, limit int) ([]Wallet, error)
}

// Package wallet is the inventory of custody wallets: an address on a chain, the key behind it, the client that owns it.
//
// Service makes wallets and answers questions about them; a Store keeps them. An owner's name for a wallet is the key of
// its creation: the same name again gives the same wallet. Who may use a wallet is decided by package policy, and keys stay
// in custody: a wallet knows only their id.
package wallet

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// Wallet is an address that Aval signs for.
type Wallet struct {
	ID      string // "wal_…"
	Owner   string // client id
	Name    string // unique among its owner's wallets
	Chain   string // CAIP-2
	Address string // canonical, of the chain; unique there
	Key     string // key id
	Created time.Time
}

// The refusals of a Store, compared with errors.Is.
var (
	// ErrUnknown: no such wallet, or not this client's (A21).
	ErrUnknown = problem.New(problem.NotFound, "wallet-unknown", "there is no such wallet; list the wallets to see those that there are")
	// ErrExists: the id, the owner's name or the address is taken.
	ErrExists = problem.New(problem.Conflict, "wallet-exists", "there is a wallet of this name or address already")
)

// Store is the port to the inventory.
//
// Durability: what returned nil is on stable storage. Ordering: ids sort by creation. Consistency: unique by id, by
// (owner, name) and by (chain, address); reads see every Add that returned before they began; a wallet never changes. Its
// conformance suite is wallettest.
type Store interface {
	// Add keeps a new wallet; ErrExists when a part that is unique is taken.
	Add(ctx context.Context, w Wallet) error
	// Get reads one by id: ErrUnknown otherwise.
	Get(ctx context.Context, id string) (Wallet, error)
	// Named reads an owner's wallet by its name: ErrUnknown otherwise.
	Named(ctx context.Context, owner, name string) (Wallet, error)
	// List gives an owner's wallets, all for "", by creation; at most limit after the id in cursor.
	List(ctx context.Context, owner, cursor string, limit int) ([]Wallet, error)
}

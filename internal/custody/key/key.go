// Package key is the registry of signing keys and the leases on them.
//
// A key is used by one worker at a time, under a lease; each lease of a key has a higher fence than the one before. A lease
// is a hint: the decision transaction checks the fence (see package signer). A key whose worker failed is quarantined with
// the worker's name until its nonce is reconciled with the chain (I8 to I11).
package key

import (
	"context"
	"time"
)

// Status of a key.
type Status string

// The statuses.
const (
	Free        Status = "free"
	Leased      Status = "leased"
	Quarantined Status = "quarantined" // its holder failed; nobody gets it until Reconcile
)

// Key is a registered signing key. The private part is in a keystore, under the same ID.
type Key struct {
	ID       string // "key_…"
	Chain    string // CAIP-2
	Address  string // canonical, of the chain
	Pool     string // keys of one pool are interchangeable; "" is bound to a wallet
	Status   Status
	Holder   string    // of the lease, or of the failed one
	Fence    uint64    // of the newest lease; 0 before the first
	Nonce    uint64    // the next one to use, as far as decided
	Known    bool      // whether Nonce was ever reconciled with the chain
	LastUsed time.Time // when the newest lease began
	Reason   string    // why it is quarantined
}

// Lease is the right to use a key until it expires, named by its fence.
type Lease struct {
	Key     Key
	Holder  string
	Fence   uint64
	Expires time.Time
}

// Request says which key is wanted: one by id, or the least recently used of a pool.
type Request struct {
	Holder string // names the process and worker, "controller-1/sign"
	Key    string
	Chain  string // with Pool
	Pool   string
	TTL    time.Duration
}

// Registry is the port to the key list and its leases.
//
// Durability: what returned nil is on stable storage. Ordering: the fences of a key grow strictly. Consistency: at most one
// unexpired lease a key, least recently used first within a pool. Refusals: key-unknown, key-busy (Unavailable), key-quarantined,
// lease-stale. Its conformance suite is keytest.
type Registry interface {
	// Add registers a key; a known id or (chain, address) is key-exists.
	Add(ctx context.Context, k Key) error
	// Lease takes a key. It waits for a busy one until ctx ends, then says key-busy.
	Lease(ctx context.Context, r Request) (Lease, error)
	// Release ends a lease; a stale one changes nothing and says lease-stale (I9).
	Release(ctx context.Context, l Lease) error
	// Quarantine sets aside every key whose lease is held by another process than the living, or has expired (I10).
	Quarantine(ctx context.Context, living string) ([]Key, error)
	// Reconcile ends a quarantine with the chain's own view of the next nonce; a chain that is ahead of our decisions means
	// foreign use: key-foreign-use, and it stays.
	Reconcile(ctx context.Context, id string, chainNonce uint64) error
	// Get and List read.
	Get(ctx context.Context, id string) (Key, error)
	List(ctx context.Context) ([]Key, error)
}

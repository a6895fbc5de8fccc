// Package key is the registry of signing keys and the leases on them.
//
// A key is used by one worker at a time, under a lease; each lease of a key has a higher fence than the one before. A lease
// is a hint: the decision transaction checks the fence (see package signer). A key whose worker failed is quarantined with
// the worker's name until its nonce is reconciled with the chain (I8 to I11).
//
// The life of a key:
//
//	Add ──▶ free ── Lease ──▶ leased ── Release ──▶ free
//	                            │ its time is over, or its holder's process is gone
//	                            ▼
//	                       quarantined ── Reconcile ──▶ free
//
// A lease whose time is over is not free for the next one: its worker failed, or was stopped in the middle, and nobody
// knows what it did. Whoever meets such a lease, a later Lease or Quarantine at start, sets the key aside with the holder
// on record; from that moment the old lease decides nothing and releases nothing (lease-stale), even if its worker wakes
// up. Until somebody meets it, the holder may still use and release it: being late harms nobody. Reconcile compares the
// chain's next nonce with ours and frees the key; the next lease has a higher fence.
//
// What a Registry does not do: it holds no private bytes (package keystore) and assigns no nonces (package signer).
package key

import (
	"context"
	"strings"
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

// Restored is the holder of a key that a restore has set aside: decisions made after the backup are forgotten, so nothing is
// decided with the key before the chain has mined all that the backup knows of, and no more.
const Restored = "restore"

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

// Process is a holder's name up to the first "/".
func Process(holder string) string {
	process, _, _ := strings.Cut(holder, "/")
	return process
}

// OfProcess says of leases whether the process with the name holds them.
func OfProcess(name string) func(Key) bool {
	return func(k Key) bool { return Process(k.Holder) == name }
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
// Durability: what returned nil is on stable storage; an error that is none of errors.go leaves the outcome unknown, and a
// lease that may have been granted so ends up quarantined. Ordering: the fences of a key grow strictly; who waits for a key
// gets it in order of asking. Consistency: at most one lease a key, least recently used first within a pool (then by id).
// Refusals: those of errors.go. Fault points, ".before" and ".after" each: keys.add, keys.lease, keys.release,
// keys.quarantine, keys.reconcile. Its conformance suite is keytest.
type Registry interface {
	// Add registers a free key whose nonce is not known; of k it takes ID, Chain, Address and Pool. A known id or
	// (chain, address) is key-exists.
	Add(ctx context.Context, k Key) error
	// Lease takes a key. It waits for a busy one until ctx ends, then says key-busy. A key whose lease is found expired is
	// quarantined; key-quarantined when there is nothing to wait for.
	Lease(ctx context.Context, r Request) (Lease, error)
	// Release ends a lease; a stale one changes nothing and says lease-stale (I9). After any other error the key is free, still leased,
	// or set aside.
	Release(ctx context.Context, l Lease) error
	// Quarantine sets aside every key whose lease was granted before this process started, or has expired, or whose holder does
	// not live (I10). It gives the keys that it set aside. lives judges leases that this Registry granted, may be asked several times,
	// and must not call the Registry; OfProcess makes one of a name.
	Quarantine(ctx context.Context, lives func(Key) bool) ([]Key, error)
	// Reconcile takes the chain's own view of the next nonce. Not ahead of ours, it ends a quarantine; for a key whose nonce
	// was not known it sets it, free or leased. A chain that is or ever was ahead of our decisions means foreign use:
	// key-foreign-use, and the key is quarantined and stays so.
	Reconcile(ctx context.Context, id string, chainNonce uint64) error
	// Get and List read.
	Get(ctx context.Context, id string) (Key, error)
	List(ctx context.Context) ([]Key, error)
}

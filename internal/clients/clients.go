// Package clients is the register of who may instruct Aval: clients, and the addresses that sign for them.
//
// Service keeps the rules of the register (a name, at least one signer, no signer for two clients); a Store keeps the rows.
// What a client may do is decided by package policy, and how it proves who it is by package auth.
package clients

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/problem"
)

// Client is a party that sends messages.
type Client struct {
	ID       string // "cli_…"; the subject of its bearer tokens
	Name     string
	Signers  []common.Address // who may sign for it
	Disabled bool
	Created  time.Time
}

// The refusals of a Store, compared with errors.Is.
var (
	// ErrUnknown: no such client.
	ErrUnknown = problem.New(problem.NotFound, "client-unknown", "there is no such client; register it with aval client create")
	// ErrSignerTaken: the address signs for another client already. Which one is not told.
	ErrSignerTaken = problem.New(problem.Conflict, "signer-taken", "one of the signers is registered for another client; an address signs for one client only")
)

// Store is the port to the register.
//
// Durability: what returned nil is on stable storage; after another error the outcome is unknown. Ordering: none. Consistency: reads see
// every write that returned before they began; an address signs for one client at most. What a read gives belongs to the
// caller. Its conformance suite is clientstest.
type Store interface {
	// Put adds a client or replaces it with its signers; Created of one that is there stays. ErrSignerTaken changes nothing.
	Put(ctx context.Context, c Client) error
	// Change reads a client, lets the function change it, and puts it, in one transaction. An error of the function is
	// returned and changes nothing; ErrUnknown when it is not there.
	Change(ctx context.Context, id string, change func(*Client) error) (Client, error)
	// Get reads one: ErrUnknown otherwise. It is asked for each submission and answers without touching the disk mostly.
	Get(ctx context.Context, id string) (Client, error)
	// List gives all, by id and so by creation.
	List(ctx context.Context) ([]Client, error)
}

// Package clients is the register of who may instruct Aval: clients, and the addresses that sign for them.
package clients

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Client is a party that sends messages.
type Client struct {
	ID       string // "cli_…"; the subject of its bearer tokens
	Name     string
	Signers  []common.Address // who may sign for it
	Disabled bool
	Created  time.Time
}

// Store is the port to the register. Durability: what returned nil is on stable storage.
// Refusals: client-unknown, client-exists. Its conformance suite is clientstest.
type Store interface {
	Put(ctx context.Context, c Client) error
	Get(ctx context.Context, id string) (Client, error)
	List(ctx context.Context) ([]Client, error)
}

package clients

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
)

// Prefix is what every client id starts with.
const Prefix = "cli"

const (
	maxName    = 80  // characters
	maxSigners = 100 // a client
)

// Service is the register with its rules: a Store that keeps them, and more.
type Service struct {
	store Store
	now   func() time.Time
}

// NewService keeps the rules over store.
func NewService(store Store, now func() time.Time) *Service { return &Service{store, now} }

// Create registers a client under a fresh id.
func (s *Service) Create(ctx context.Context, name string, signers []common.Address) (Client, error) {
	c := Client{ID: typeid.New(Prefix), Name: name, Signers: signers, Created: s.now().UTC().Truncate(time.Microsecond)}
	if err := check(&c); err != nil {
		return Client{}, err
	}
	return c, s.store.Put(ctx, c)
}

// Put registers a client under its own id, or replaces it.
func (s *Service) Put(ctx context.Context, c Client) error {
	if _, err := typeid.Parse(Prefix, c.ID); err != nil {
		return problem.New(problem.Invalid, "client-id-malformed", "the client id is malformed: %w; leave it out to get a fresh one", err)
	}
	if c.Created.IsZero() {
		c.Created = s.now()
	}
	c.Created = c.Created.UTC().Truncate(time.Microsecond)
	if err := check(&c); err != nil {
		return err
	}
	return s.store.Put(ctx, c)
}

// Change reads a client, lets the function change it, and puts it under the rules, in one transaction.
func (s *Service) Change(ctx context.Context, id string, change func(*Client) error) (Client, error) {
	return s.store.Change(ctx, id, func(c *Client) error {
		if err := change(c); err != nil {
			return err
		}
		return check(c)
	})
}

// Get reads a client.
func (s *Service) Get(ctx context.Context, id string) (Client, error) { return s.store.Get(ctx, id) }

// List gives all clients by creation.
func (s *Service) List(ctx context.Context) ([]Client, error) { return s.store.List(ctx) }

// Disable stops a client: what it submits from now on is refused. What was accepted goes on.
func (s *Service) Disable(ctx context.Context, id string) (Client, error) {
	return s.setDisabled(ctx, id, true)
}

// Enable ends Disable.
func (s *Service) Enable(ctx context.Context, id string) (Client, error) {
	return s.setDisabled(ctx, id, false)
}

func (s *Service) setDisabled(ctx context.Context, id string, disabled bool) (Client, error) {
	return s.store.Change(ctx, id, func(c *Client) error {
		c.Disabled = disabled
		return nil
	})
}

// check keeps the rules and leaves each signer once, in the order given.
func check(c *Client) error {
	if n := utf8.RuneCountInString(c.Name); n < 1 || n > maxName || !utf8.ValidString(c.Name) || strings.TrimSpace(c.Name) != c.Name || strings.ContainsFunc(c.Name, unicode.IsControl) {
		return problem.New(problem.Invalid, "client-name-invalid", "a client's name has 1 to %d characters, no control characters, and no space at its ends", maxName)
	}
	signers := make([]common.Address, 0, len(c.Signers))
	for _, signer := range c.Signers {
		if signer == (common.Address{}) {
			return problem.New(problem.Invalid, "signer-zero", "the zero address cannot sign; give the address of a key that the client holds")
		}
		if !slices.Contains(signers, signer) {
			signers = append(signers, signer)
		}
	}
	if len(signers) < 1 || len(signers) > maxSigners {
		return problem.New(problem.Invalid, "signers-invalid", "a client has 1 to %d signers; give the addresses that sign for it", maxSigners)
	}
	c.Signers = signers
	return nil
}

package sqlite

import (
	"context"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/clients"
)

// Clients is clients.Store on the system of record.
//
// Get answers from memory: it is asked for each submission. The file belongs to one process, so every change comes by here
// and forgets what was remembered, also when the commit's outcome is unknown. A DB has one Clients, whoever asks for it.
type Clients struct {
	db *DB

	mu      sync.RWMutex
	cache   map[string]clients.Client
	changes uint64 // so far: what was read before the end of one is not remembered after it
}

const cachedClients = 10_000 // when there are more, all are forgotten: memory stays flat

// NewClients serves the port from db; it is the same one each time.
func NewClients(db *DB) *Clients { return db.clients }

// Put adds or replaces a client.
func (c *Clients) Put(ctx context.Context, client clients.Client) error {
	defer c.forget(client.ID)
	return c.db.update(ctx, "clients.put", func(conn *sqlite.Conn) error { return putClient(conn, client) })
}

// Change reads, changes and puts in one transaction.
func (c *Clients) Change(ctx context.Context, id string, change func(*clients.Client) error) (client clients.Client, err error) {
	defer c.forget(id)
	err = c.db.update(ctx, "clients.change", func(conn *sqlite.Conn) error {
		if client, err = readClient(conn, id); err != nil {
			return err
		}
		if err := change(&client); err != nil {
			return err
		}
		client.ID = id
		return putClient(conn, client)
	})
	if err != nil {
		return clients.Client{}, err
	}
	return client, nil
}

// forget ends a change, however it went: what is remembered of the client goes, and what is being read is not remembered.
func (c *Clients) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cache, id)
	c.changes++
}

// Get reads a client, from memory if it was read since it changed last.
func (c *Clients) Get(ctx context.Context, id string) (client clients.Client, err error) {
	c.mu.RLock()
	client, known := c.cache[id]
	changes := c.changes
	c.mu.RUnlock()
	if known {
		client.Signers = slices.Clone(client.Signers)
		return client, nil
	}
	err = c.db.view(ctx, func(conn *sqlite.Conn) (err error) {
		client, err = readClient(conn, id)
		return err
	})
	if err == nil {
		c.remember(client, changes)
	}
	return client, err
}

func (c *Clients) remember(client clients.Client, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != changes {
		return // it may be older than what a change has stored
	}
	if len(c.cache) >= cachedClients {
		clear(c.cache)
	}
	client.Signers = slices.Clone(client.Signers)
	c.cache[client.ID] = client
}

// List gives all clients by id.
func (c *Clients) List(ctx context.Context) (list []clients.Client, err error) {
	err = c.db.view(ctx, func(conn *sqlite.Conn) error {
		err := run(conn, selectClient+" ORDER BY id", nil, func(s *sqlite.Stmt) error {
			list = append(list, scanClient(s))
			return nil
		})
		for i := range list {
			if err == nil {
				err = readSigners(conn, &list[i])
			}
		}
		return err
	})
	return list, err
}

const selectClient = "SELECT id, name, disabled, created FROM clients"

func readClient(conn *sqlite.Conn, id string) (client clients.Client, err error) {
	found, err := queryRow(conn, selectClient+" WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, id) },
		func(s *sqlite.Stmt) { client = scanClient(s) })
	if err == nil && !found {
		err = clients.ErrUnknown
	}
	if err != nil {
		return clients.Client{}, err
	}
	return client, readSigners(conn, &client)
}

func scanClient(s *sqlite.Stmt) clients.Client {
	return clients.Client{ID: s.ColumnText(0), Name: s.ColumnText(1), Disabled: s.ColumnBool(2), Created: columnTime(s, 3)}
}

func readSigners(conn *sqlite.Conn, client *clients.Client) error {
	return run(conn, "SELECT address FROM signers WHERE client = ? ORDER BY place", func(s *sqlite.Stmt) { s.BindText(1, client.ID) },
		func(s *sqlite.Stmt) error {
			client.Signers = append(client.Signers, common.BytesToAddress(blob(s, 0)))
			return nil
		})
}

// putClient writes a client and its signers; the primary key of signers refuses one that is taken.
func putClient(conn *sqlite.Conn, client clients.Client) error {
	if err := run(conn, `INSERT INTO clients (id, name, disabled, created) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, disabled = excluded.disabled`, func(s *sqlite.Stmt) {
		s.BindText(1, client.ID)
		s.BindText(2, client.Name)
		s.BindBool(3, client.Disabled)
		s.BindInt64(4, micros(client.Created))
	}, nil); err != nil {
		return err
	}
	if err := run(conn, "DELETE FROM signers WHERE client = ?", func(s *sqlite.Stmt) { s.BindText(1, client.ID) }, nil); err != nil {
		return err
	}
	for i, signer := range client.Signers {
		err := run(conn, "INSERT INTO signers (address, client, place) VALUES (?, ?, ?)", func(s *sqlite.Stmt) {
			s.BindBytes(1, signer[:])
			s.BindText(2, client.ID)
			s.BindInt64(3, int64(i))
		}, nil)
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint {
			return clients.ErrSignerTaken
		}
		if err != nil {
			return err
		}
	}
	return nil
}

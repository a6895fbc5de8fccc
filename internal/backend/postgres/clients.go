package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/together"
)

// Clients is clients.Store on the system of record. Nothing is remembered in the process: another one may have disabled a
// client a moment ago. The server answers from its memory, and those who ask at the same time with one statement.
type Clients struct {
	db   *DB
	asks *together.Reads[string, clients.Client]
}

// NewClients serves the port from db.
func NewClients(db *DB) *Clients {
	c := &Clients{db: db}
	c.asks = together.New(c.some)
	return c
}

const clientSQL = `SELECT c.id, c.name, c.disabled, c.created, ARRAY(SELECT address FROM signers s WHERE s.client = c.id ORDER BY place) FROM clients c `

// client reads the columns of clientSQL.
func client(row pgx.CollectableRow) (c clients.Client, err error) {
	var created int64
	var signers [][]byte
	err = row.Scan(&c.ID, &c.Name, &c.Disabled, &created, &signers)
	c.Created = time.UnixMicro(created).UTC()
	for _, signer := range signers {
		c.Signers = append(c.Signers, common.BytesToAddress(signer))
	}
	return c, err
}

func (c *Clients) one(ctx context.Context, from querier, where string, args ...any) (clients.Client, error) {
	found, there, err := one(ctx, c.db, from, client, clientSQL+where, args...)
	if err == nil && !there {
		err = clients.ErrUnknown
	}
	return found, err
}

// Put adds or replaces a client.
func (c *Clients) Put(ctx context.Context, given clients.Client) error {
	return c.db.transaction(ctx, "clients.put", func(tx pgx.Tx) error { return putClient(ctx, tx, given) })
}

// Change reads, changes and puts in one transaction.
func (c *Clients) Change(ctx context.Context, id string, change func(*clients.Client) error) (changed clients.Client, err error) {
	err = c.db.transaction(ctx, "clients.change", func(tx pgx.Tx) error {
		// Locked first and read afterwards, so that what the one before has changed is all there.
		if _, err := tx.Exec(ctx, "SELECT FROM clients WHERE id = $1 FOR UPDATE", clean(id)); err != nil {
			return err
		}
		if changed, err = c.one(ctx, tx, "WHERE c.id = $1", clean(id)); err != nil {
			return err
		}
		if err := change(&changed); err != nil {
			return err
		}
		changed.ID = id
		return putClient(ctx, tx, changed)
	})
	if err != nil {
		return clients.Client{}, err
	}
	return changed, nil
}

// putClient writes a client and its signers; the primary key of signers refuses one that is taken.
func putClient(ctx context.Context, tx pgx.Tx, c clients.Client) error {
	_, err := tx.Exec(ctx, `INSERT INTO clients (id, name, disabled, created) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, disabled = excluded.disabled`, c.ID, clean(c.Name), c.Disabled, micros(c.Created))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM signers WHERE client = $1", c.ID); err != nil {
		return err
	}
	addresses := make([][]byte, len(c.Signers))
	for i := range c.Signers {
		addresses[i] = c.Signers[i][:]
	}
	_, err = tx.Exec(ctx, "INSERT INTO signers (address, client, place) SELECT address, $2, place FROM unnest($1::bytea[]) WITH ORDINALITY AS t(address, place)", addresses, c.ID)
	if stateIs(err, uniqueViolation) {
		return clients.ErrSignerTaken
	}
	return err
}

// Get reads a client.
func (c *Clients) Get(ctx context.Context, id string) (clients.Client, error) {
	id = clean(id)
	all, err := c.asks.Get(ctx, id)
	found, there := all[id]
	if err == nil && !there {
		err = clients.ErrUnknown
	}
	found.Signers = slices.Clone(found.Signers) // others have asked for the same
	return found, err
}

func (c *Clients) some(ctx context.Context, ids []string) (map[string]clients.Client, error) {
	list, err := rows(ctx, c.db, c.db.pool, client, clientSQL+"WHERE c.id = ANY ($1::text[])", ids)
	found := make(map[string]clients.Client, len(list))
	for _, one := range list {
		found[one.ID] = one
	}
	return found, err
}

// List gives all clients by id.
func (c *Clients) List(ctx context.Context) ([]clients.Client, error) {
	return rows(ctx, c.db, c.db.pool, client, clientSQL+"ORDER BY c.id")
}

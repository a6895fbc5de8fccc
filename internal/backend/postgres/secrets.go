package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/auth"
)

// Secrets is auth.Secrets on the system of record. It holds hashes; a secret itself is nowhere in the database (I25).
type Secrets struct{ db *DB }

// NewSecrets serves the port from db.
func NewSecrets(db *DB) *Secrets { return &Secrets{db} }

// Put keeps a client's hash and scopes; those before it are gone.
func (x *Secrets) Put(ctx context.Context, secret auth.Secret) error {
	return x.db.update(ctx, "secrets.put", func() error {
		_, err := x.db.pool.Exec(ctx, `INSERT INTO secrets (client, hash, scopes) VALUES ($1, $2, $3)
			ON CONFLICT (client) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes`, secret.Client, secret.Hash, strings.Join(secret.Scopes, " "))
		return err
	})
}

// Get reads a client's hash and scopes.
func (x *Secrets) Get(ctx context.Context, client string) (auth.Secret, error) {
	secret, found, err := one(ctx, x.db, x.db.pool, func(row pgx.CollectableRow) (s auth.Secret, err error) {
		var scopes string
		err = row.Scan(&s.Client, &s.Hash, &scopes)
		s.Scopes = strings.Fields(scopes)
		return s, err
	}, "SELECT client, hash, scopes FROM secrets WHERE client = $1", clean(client))
	if err == nil && !found {
		err = auth.ErrSecretUnknown
	}
	return secret, err
}

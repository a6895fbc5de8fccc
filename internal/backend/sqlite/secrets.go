package sqlite

import (
	"context"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/auth"
)

// Secrets is auth.Secrets on the system of record. It holds hashes; a secret itself is nowhere in the file (I25).
type Secrets struct{ db *DB }

// NewSecrets serves the port from db.
func NewSecrets(db *DB) *Secrets { return &Secrets{db} }

// Put keeps a client's hash and scopes; those before it are gone.
func (x *Secrets) Put(ctx context.Context, secret auth.Secret) error {
	return x.db.update(ctx, "secrets.put", func(conn *sqlite.Conn) error {
		return run(conn, `INSERT INTO secrets (client, hash, scopes) VALUES (?, ?, ?)
ON CONFLICT (client) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes`, func(s *sqlite.Stmt) {
			s.BindText(1, secret.Client)
			s.BindBytes(2, secret.Hash)
			s.BindText(3, strings.Join(secret.Scopes, " "))
		}, nil)
	})
}

// Get reads a client's hash and scopes.
func (x *Secrets) Get(ctx context.Context, client string) (secret auth.Secret, err error) {
	found := false
	err = x.db.view(ctx, func(conn *sqlite.Conn) (err error) {
		found, err = queryRow(conn, "SELECT client, hash, scopes FROM secrets WHERE client = ?", func(s *sqlite.Stmt) { s.BindText(1, client) },
			func(s *sqlite.Stmt) {
				secret = auth.Secret{Client: s.ColumnText(0), Hash: blob(s, 1), Scopes: strings.Fields(s.ColumnText(2))}
			})
		return err
	})
	if err == nil && !found {
		err = auth.ErrSecretUnknown
	}
	return secret, err
}

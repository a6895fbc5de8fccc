package postgres

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/problem"
)

// Sealed is keystore.Blobs on the database: what is in it is of no use without the key-encryption key, which is never there.
// The application's user can add and read; Replace needs an administrator.
type Sealed struct {
	from  sealedConn
	where string
	close func(context.Context) error
}

type sealedConn interface {
	querier
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// NewSealed serves the port from db.
func NewSealed(db *DB) *Sealed { return &Sealed{from: db.pool, where: db.where} }

// ConnectSealed serves the port on one connection with the rights of the URL's user: for one caller at a time.
func ConnectSealed(ctx context.Context, url string) (*Sealed, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, unusable(url, err)
	}
	config.RuntimeParams["search_path"] = Schema
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, atStart(location(config), err)
	}
	return &Sealed{from: conn, where: location(config), close: conn.Close}, nil
}

// Close ends the connection.
func (s *Sealed) Close(ctx context.Context) error {
	if s.close == nil {
		return nil
	}
	return s.close(ctx)
}

// Where names the row.
func (s *Sealed) Where(name string) string { return name + " in the database " + s.where }

// Get reads a value.
func (s *Sealed) Get(ctx context.Context, name string) (content []byte, err error) {
	err = s.from.QueryRow(ctx, "SELECT content FROM sealed WHERE name = $1", name).Scan(&content)
	if isNone(err) {
		return nil, fmt.Errorf("read %s: %w", s.Where(name), fs.ErrNotExist)
	}
	return content, describe(s.where, err)
}

// Add stores a value under a free name.
func (s *Sealed) Add(ctx context.Context, name string, content []byte) error {
	return s.write(ctx, name, fs.ErrExist, "INSERT INTO sealed (name, content) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1", name, content)
}

// Replace stores another value in the place of the former one.
func (s *Sealed) Replace(ctx context.Context, name string, former, content []byte) error {
	return s.write(ctx, name, fs.ErrNotExist, "UPDATE sealed SET content = $3 WHERE name = $1 AND content = $2 RETURNING 1", name, former, content)
}

// write runs a statement that gives a row when it has written one.
func (s *Sealed) write(ctx context.Context, name string, none error, statement string, args ...any) error {
	var one int
	err := s.from.QueryRow(ctx, statement, args...).Scan(&one)
	if isNone(err) {
		return fmt.Errorf("write %s: %w", s.Where(name), none)
	}
	if stateIs(err, forbidden) {
		return problem.New(problem.Forbidden, "database-forbidden", "the application's user may add sealed values to the database %s and never change one: an administrator does that", s.where)
	}
	return describe(s.where, err)
}

// List gives the names below a folder.
func (s *Sealed) List(ctx context.Context, folder string) (names []string, err error) {
	result, err := s.from.Query(ctx, "SELECT name FROM sealed WHERE starts_with(name, $1) ORDER BY name", folder+"/")
	if err == nil {
		names, err = pgx.CollectRows(result, pgx.RowTo[string])
	}
	return names, describe(s.where, err)
}

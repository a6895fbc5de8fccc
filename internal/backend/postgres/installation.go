package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/problem"
)

// Installation is what a database is for good: the first program that runs on it says so, and all others are compared.
type Installation struct {
	Contract []byte // the random address in the signing domain, 20 bytes; what is stored counts
	ChainID  int64
	Genesis  string // hash of the chain's block 0
	Keystore string // names the key store without telling its secrets: a second cluster has another one
}

// Installation reads what the database is; found is false before the first program has run on it.
func (db *DB) Installation(ctx context.Context) (stored Installation, found bool, err error) {
	return one(ctx, db, db.pool, pgx.RowToStructByPos[Installation], "SELECT contract, chain_id, genesis, keystore FROM installation")
}

// Join writes the installation when there is none, and otherwise compares: two clusters on one database are refused.
func (db *DB) Join(ctx context.Context, given Installation) (stored Installation, err error) {
	_, err = db.pool.Exec(ctx, "INSERT INTO installation (contract, chain_id, genesis, keystore) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		given.Contract, given.ChainID, given.Genesis, given.Keystore)
	if err != nil {
		return stored, db.describe(err)
	}
	stored, _, err = db.Installation(ctx)
	switch {
	case err != nil:
	case stored.ChainID != given.ChainID:
		err = problem.New(problem.Invalid, "chain-changed", "the database %s belongs to chain %d, and chain.id is %d; a database keeps its chain: set chain.id back, or use another database", db.where, stored.ChainID, given.ChainID)
	case stored.Genesis != given.Genesis:
		err = problem.New(problem.Invalid, "chain-changed", "the database %s belongs to the chain with genesis %s, and the node serves one with genesis %s under the same id; point chain.url at the former chain, or use another database", db.where, stored.Genesis, given.Genesis)
	case stored.Keystore != given.Keystore:
		err = problem.New(problem.Invalid, "database-of-another-cluster", "the database %s belongs to a cluster with another key store; give this process that cluster's keys, or a database of its own", db.where)
	}
	return stored, err
}

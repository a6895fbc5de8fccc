package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// openDatabase serves every port from PostgreSQL, but for the keys that are leased elsewhere. Any number of processes may do so at once.
func openDatabase(ctx context.Context, c config.Config, faults *fault.Points) (s storage, err error) {
	db, s, err := openShare(ctx, c, faults)
	if err != nil {
		return s, err
	}
	if err := leaseElsewhere(ctx, c, db, &s, faults); err != nil {
		return s, errors.Join(err, s.close())
	}
	return s, nil
}

// openShare serves every port from PostgreSQL.
func openShare(ctx context.Context, c config.Config, faults *fault.Points) (db *postgres.DB, s storage, err error) {
	address, err := databaseURL(c.Database)
	if err != nil {
		return nil, s, err
	}
	if db, err = postgres.Open(ctx, address, postgres.Options{Name: program, Faults: faults, Pool: c.Database.Connections}); err != nil {
		return nil, s, err
	}
	return db, databaseStorage(db), nil
}

func databaseStorage(db *postgres.DB) storage {
	table := postgres.NewFeeder(db, time.Now)
	return storage{
		process: db.Process(), holder: db.Process(), record: postgres.NewGuarantee(db), feeder: table, nudges: table, table: table, outbox: postgres.NewOutbox(db), mirror: postgres.NewReference(db),
		calls: postgres.NewCalls(db), keys: postgres.NewKeys(db), decisions: postgres.NewDecisions(db), transactions: postgres.NewTransactions(db),
		clients: postgres.NewClients(db), secrets: postgres.NewSecrets(db), wallets: postgres.NewWallets(db), sealed: postgres.NewSealed(db),
		pipeline:  pipeline{bus: postgres.NewBus(db), parked: postgres.NewParked(db), requests: postgres.NewRequests(db), cursors: postgres.NewCursors(db), verdicts: postgres.NewVerdicts(db)},
		ready:     map[string]func(context.Context) error{},
		elections: postgres.NewElections(db), keep: time.Minute, close: db.Close,
		contract: func(ctx context.Context) (common.Address, bool, error) {
			stored, found, err := db.Installation(ctx)
			return common.BytesToAddress(stored.Contract), found, err
		},
		join: func(ctx context.Context, in installation) (installation, error) {
			stored, err := db.Join(ctx, postgres.Installation{Contract: in.Contract[:], ChainID: int64(in.ChainID), Genesis: in.Genesis, Keystore: in.keystore})
			in.Contract = common.BytesToAddress(stored.Contract)
			return in, err
		},
	}
}

// databaseURL is the configured URL with the password.
func databaseURL(c config.Database) (string, error) {
	u, err := url.Parse(string(c.URL))
	if err != nil {
		return "", problem.New(problem.Invalid, "config-invalid", "database.url is not a URL that can be used: set one that begins with postgres://")
	}
	kind, where := c.Source()
	if kind == "" {
		return u.String(), nil
	}
	password, err := readPassword(kind, where, "database.password")
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}

package client_test

import (
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
)

func start(t testing.TB, adapt func(*server.Config, *server.Services)) *trial.Edge {
	t.Helper()
	dir := t.TempDir()
	record, err := sqlite.Open(t.Context(), filepath.Join(dir, "aval.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	read, err := sqlite.OpenReference(t.Context(), filepath.Join(dir, "reference.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	g, r := sqlite.NewGuarantee(record), sqlite.NewReference(read)
	return trial.Start(t, trial.Stores{
		Guarantee: g, Calls: g, Workflows: g, Source: g, Outbox: sqlite.NewOutbox(record), Reference: r, Repairs: r, Clients: sqlite.NewClients(record),
		Secrets: sqlite.NewSecrets(record), Wallets: sqlite.NewWallets(record), Keys: sqlite.NewKeys(record),
	}, adapt)
}

func connect(t testing.TB, url string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

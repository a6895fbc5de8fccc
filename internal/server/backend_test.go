package server_test

import (
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/server/trial"
)

func stores(t testing.TB) trial.Stores {
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
	g, r, keys := sqlite.NewGuarantee(record), sqlite.NewReference(read), sqlite.NewKeys(record)
	return trial.Stores{
		Guarantee: g, Calls: g, Workflows: g, Source: g, Outbox: sqlite.NewOutbox(record), Reference: r, Repairs: r, Clients: sqlite.NewClients(record),
		Secrets: sqlite.NewSecrets(record), Wallets: sqlite.NewWallets(record), Keys: keys, Trust: keys,
	}
}

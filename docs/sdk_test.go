// Package docs_test keeps Aval's documents true where a machine can: the code that is shown is code that runs.
package docs_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/server/trial"
)

// region pay
func pay(ctx context.Context, url, id, secret string, key *ecdsa.PrivateKey, to string) (client.Record, error) {
	aval, err := client.New(url, client.WithCredentials(id, secret))
	if err != nil {
		return client.Record{}, err
	}
	wallet, err := aval.CreateWallet(ctx, client.NewWallet{Name: "main"}) // or the one of that name
	if err != nil {
		return client.Record{}, err
	}
	order := client.Transfer{Wallet: wallet.ID, To: to, Asset: "native", Amount: "5"}
	sent, err := aval.Send(ctx, client.KeySigner(key), "transfer.v1", wallet.Chain, order)
	if err != nil {
		return client.Record{}, err
	}
	return aval.Wait(ctx, sent.ID) // until it is final, or parked and so waits for a person
}

// endregion

// The README's program does what it says, against the real edge.
func TestReadmeProgram(t *testing.T) {
	edge := startEdge(t)
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	operator, err := client.New(edge.URL, client.WithToken(edge.Operator(t)))
	if err != nil {
		t.Fatal(err)
	}
	party, err := operator.CreateClient(t.Context(), "shop", crypto.PubkeyToAddress(key.PublicKey).Hex())
	if err != nil {
		t.Fatal(err)
	}
	finished := make(chan error, 1)
	go func() { // what the controller does
		events, err := edge.Outbox.Read(t.Context(), 0, 1)
		if err == nil {
			err = edge.Finish(t.Context(), events[0].ID)
		}
		finished <- err
	}()
	end, err := pay(t.Context(), edge.URL, party.ID, party.Secret, key, "0x00000000000000000000000000000000000A11cE")
	if err := errors.Join(err, <-finished); err != nil {
		t.Fatal(err)
	}
	if end.Status != client.Succeeded || end.Amount != "5" {
		t.Errorf("the message ended as %+v", end)
	}
}

func startEdge(t *testing.T) *trial.Edge {
	t.Helper()
	dir := t.TempDir()
	record, err := sqlite.Open(t.Context(), filepath.Join(dir, "aval.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	mirror, err := sqlite.OpenReference(t.Context(), filepath.Join(dir, "reference.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mirror.Close() })
	g, r := sqlite.NewGuarantee(record), sqlite.NewReference(mirror)
	return trial.Start(t, trial.Stores{
		Guarantee: g, Workflows: g, Source: g, Outbox: sqlite.NewOutbox(record), Reference: r, Repairs: r, Clients: sqlite.NewClients(record),
		Secrets: sqlite.NewSecrets(record), Wallets: sqlite.NewWallets(record), Keys: sqlite.NewKeys(record),
	}, nil)
}

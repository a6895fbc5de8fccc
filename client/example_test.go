package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server/trial"
)

// A client sends 25 of a chain's coin from its wallet and waits until that has happened.
func Example() {
	t, done := scene()
	defer done()
	edge := start(t, nil) // in earnest: aval dev, or an installation's address
	_, key, shop := party(t, edge, "shop")

	ctx := context.Background()
	aval, err := client.New(edge.URL, client.WithCredentials(shop.ID, shop.Secret))
	if err != nil {
		log.Fatal(err)
	}
	wallet, err := aval.CreateWallet(ctx, client.NewWallet{Name: "main"})
	if err != nil {
		log.Fatal(err)
	}
	payment := client.Transfer{Wallet: wallet.ID, To: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Asset: "native", Amount: "25"}
	sent, err := aval.Send(ctx, client.KeySigner(key), "transfer.v1", wallet.Chain, payment)
	if err != nil {
		log.Fatal(err)
	}
	go finish(ctx, edge, sent.ID)
	for step, err := range aval.Watch(ctx, sent.ID) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(step.Entry.Version, step.Entry.State)
	}
	last, err := aval.Get(ctx, sent.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(last.Type, last.Amount, last.State, last.Status)

	// Output:
	// 1 Validate
	// 2 Record
	// 3 Done
	// transfer.v1 25 archived succeeded
}

// Signing where the key is: an id is asked for in one place, signed in another, submitted from a third.
func ExampleClient_Submit() {
	t, done := scene()
	defer done()
	edge := start(t, nil)
	aval, key, _ := party(t, edge, "shop")

	ctx := context.Background()
	ids, err := aval.IssueIDs(ctx, 1)
	if err != nil {
		log.Fatal(err)
	}
	m := client.Message{
		ID: ids.IDs[0].ID, Expires: ids.IDs[0].Expires, Client: ids.Client,
		Type: "note.v1", Chain: trial.Chain, Body: map[string]string{"text": "the books are closed"},
	}
	types, err := client.ShippedTypes()
	if err != nil {
		log.Fatal(err)
	}
	signed, err := types.Sign(m, client.EIP191, ids.Domains[0].Domain, func(digest [32]byte) ([]byte, error) {
		return crypto.Sign(digest[:], key) // or ask the device that has the key
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // harmless: the same bytes get the same record
		record, err := aval.Submit(ctx, m.ID, signed)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(record.ID == m.ID, record.Type, record.Status)
	}

	// Output:
	// true note.v1 running
	// true note.v1 running
}

// finish is what Aval's controller does.
func finish(ctx context.Context, edge *trial.Edge, id string) {
	if err := edge.Finish(ctx, message.ID(id)); err != nil {
		log.Fatal(err)
	}
}

package main

import (
	"context"

	"github.com/avalhq/aval/internal/custody/key"
)

// releaser is the key registry as operators see it: a quarantine ends with what the chain says of the key's nonce.
type releaser struct{ p *platform }

func (r releaser) Get(ctx context.Context, id string) (key.Key, error) {
	return r.p.storage.keys.Get(ctx, id)
}

func (r releaser) List(ctx context.Context) ([]key.Key, error) { return r.p.storage.keys.List(ctx) }

func (r releaser) Release(ctx context.Context, id string) error {
	k, err := r.p.storage.keys.Get(ctx, id)
	if err != nil {
		return err
	}
	account, err := r.p.network.Account(ctx, k.Address)
	if err != nil {
		return err
	}
	return r.p.storage.keys.Reconcile(ctx, id, account.Nonce)
}

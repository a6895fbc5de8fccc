package main

import (
	"context"
	"errors"

	"github.com/avalhq/aval/internal/custody/key"
)

// releaser is the key registry as operators see it: a quarantine ends with what the chain says of the key's nonce.
type releaser struct{ p *platform }

func (r releaser) Get(ctx context.Context, id string) (key.Key, error) {
	return r.p.storage.keys.Get(ctx, id)
}

func (r releaser) List(ctx context.Context) ([]key.Key, error) { return r.p.storage.keys.List(ctx) }

func (r releaser) Release(ctx context.Context, id string) error {
	return r.p.signer.Reconcile(ctx, id)
}

// Acknowledge looks at the chain first, so that nothing is acknowledged that has changed meanwhile.
func (r releaser) Acknowledge(ctx context.Context, id string, spent uint64, by, why string) error {
	if err := r.p.signer.Reconcile(ctx, id); err != nil && !errors.Is(err, key.ErrForeignUse) {
		return err
	}
	return r.p.storage.keys.Acknowledge(ctx, id, spent, by, why)
}

func (r releaser) Entries(ctx context.Context, id string) ([]key.Entry, error) {
	return r.p.storage.keys.Entries(ctx, id)
}

package main

import (
	"context"
	"errors"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/tasktoken"
	"github.com/avalhq/aval/internal/wallet"
)

func (p *platform) openCustody(ctx context.Context) error {
	store, err := p.openKeystore(ctx)
	if err != nil {
		return err
	}
	secret, err := store.Secret(ctx, "task-tokens")
	if err != nil {
		return err
	}
	if p.tasks, err = tasktoken.New(secret); err != nil {
		return err
	}
	codec := func(id string) (chain.Codec, error) {
		ch, err := p.chains().Get(id)
		return ch.Codec, err
	}
	account := func(ctx context.Context, _, address string) (chain.Account, error) {
		return p.network.Account(ctx, address)
	}
	p.signerFor = func(worker string, wait time.Duration) *signer.Signer {
		return signer.New(p.storage.keys, p.storage.decisions, store, codec, account, signer.Options{Holder: p.storage.holder + "/" + worker, Wait: wait, Faults: p.options.faults, Log: p.log})
	}
	p.signer = p.signerFor("sign", 0)
	p.wallets = wallet.NewService(p.storage.wallets, p.signer, map[string]wallet.Chain{p.chainID: {Network: p.network, Codec: p.network.Codec()}}, time.Now)
	p.keeper = p.newKeeper()
	return p.signer.Recover(ctx, p.storage.holder)
}

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

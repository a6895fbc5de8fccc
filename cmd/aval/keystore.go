package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/problem"
)

// openKeystore opens the sealed keys, in the database or in the data folder, and joins the cluster that they belong to.
func (p *platform) openKeystore(ctx context.Context) (*sealed.Store, error) {
	where := sealed.Options{KeyFile: p.config.Custody.KeyFile, Passphrase: p.options.passphrase, Create: true, Faults: p.options.faults}
	if where.Blobs = p.storage.sealed; where.Blobs == nil {
		where.Folder = p.path("keys")
	}
	if p.storage.contract != nil {
		_, begun, err := p.storage.contract(ctx)
		if err != nil {
			return nil, err
		}
		where.Create = !begun
	}
	store, err := sealed.Open(ctx, where)
	if err != nil {
		return nil, p.lockedOut(err, where.Create)
	}
	secret, err := store.Secret(ctx, "issuer")
	if err != nil {
		return nil, err
	}
	if p.issuerKey, err = auth.SigningKeyFrom(secret); err != nil {
		return nil, err
	}
	return store, p.joinCluster(ctx, store)
}

// lockedOut tells why the keys do not open. It is a mistake of the configuration: trying again does not help.
func (p *platform) lockedOut(err error, mayCreate bool) error {
	if !errors.Is(err, keystore.ErrLocked) || mayCreate {
		return wrongKey(err)
	}
	return problem.New(problem.Invalid, keystore.ErrLocked.Code, "%w; keys that are still in a folder come into the database by aval key import, and a process of another cluster needs a database of its own", err)
}

// wrongKey makes a key store that does not open a mistake of the configuration.
func wrongKey(err error) error {
	if errors.Is(err, keystore.ErrLocked) {
		return problem.New(problem.Invalid, keystore.ErrLocked.Code, "%w", err)
	}
	return err
}

// joinCluster says what this process believes it belongs to; the database says what counts.
func (p *platform) joinCluster(ctx context.Context, keys *sealed.Store) (err error) {
	if p.storage.join == nil {
		return nil
	}
	if p.install.keystore, err = keystoreName(ctx, keys); err != nil {
		return err
	}
	p.install, err = p.storage.join(ctx, p.install)
	return err
}

// keystoreName names a key store without telling its secrets.
func keystoreName(ctx context.Context, keys *sealed.Store) (string, error) {
	secret, err := keys.Secret(ctx, "cluster")
	name := sha256.Sum256(secret)
	return hex.EncodeToString(name[:]), err
}

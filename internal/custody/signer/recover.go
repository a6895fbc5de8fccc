package signer

import (
	"context"
	"errors"
	"fmt"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/typeid"
)

// KeyPrefix is what every key id starts with.
const KeyPrefix = "key"

// Recover is called once, before the process with this name signs anything: it quarantines the keys that failed holders
// left and reconciles every quarantined one with its chain (I10). A key that cannot be reconciled now, because its chain
// does not answer or has seen foreign use, stays quarantined and is logged; it hinders no other key. What was decided and
// not signed is signed when its message resumes.
func (s *Signer) Recover(ctx context.Context, process string) error {
	if err := s.setAside(ctx, process); err != nil {
		return err
	}
	keys, err := s.registry.List(ctx)
	if err != nil {
		return fmt.Errorf("list the keys to reconcile: %w", err)
	}
	for _, k := range keys {
		if k.Status != key.Quarantined {
			continue
		}
		if err := s.reconcile(ctx, k.ID); err != nil {
			s.options.Log.ErrorContext(ctx, "key stays quarantined", "key", k.ID, "chain", k.Chain, "address", k.Address, "holder", k.Holder, "error", err)
			continue
		}
		if err := s.reportUnsigned(ctx, k.ID); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// setAside quarantines the keys of holders that have failed.
func (s *Signer) setAside(ctx context.Context, process string) error {
	aside, err := s.registry.Quarantine(ctx, key.OfProcess(process))
	if err != nil {
		return fmt.Errorf("set aside the keys of failed holders: %w", err)
	}
	for _, k := range aside {
		s.options.Log.WarnContext(ctx, "key quarantined", "key", k.ID, "chain", k.Chain, "address", k.Address, "holder", k.Holder, "fence", k.Fence, "reason", k.Reason)
	}
	return nil
}

func (s *Signer) reportUnsigned(ctx context.Context, keyID string) error {
	left, err := s.decisions.Unsigned(ctx, keyID)
	if err != nil {
		return fmt.Errorf("list what the key %s was to sign: %w", keyID, err)
	}
	for _, d := range left {
		s.options.Log.InfoContext(ctx, "decided and not signed; signed when the message resumes, or by its lane", "key", keyID, "nonce", d.Nonce, "message_id", d.Step.Message, "state", d.Step.State)
	}
	return nil
}

// CreateKey makes a key in the key store and registers it in a pool of a chain, "" for none. A crash in between leaves a
// sealed key that nobody knows of and that never held anything.
func (s *Signer) CreateKey(ctx context.Context, chain, pool string) (key.Key, error) {
	codec, err := s.codec(chain)
	if err != nil {
		return key.Key{}, err
	}
	k := key.Key{ID: typeid.New(KeyPrefix), Chain: chain, Pool: pool, Status: key.Free}
	handle, err := s.keys.Generate(ctx, k.ID)
	if err != nil {
		return key.Key{}, err
	}
	if k.Address, err = codec.AddressOf(handle.Public()); err != nil {
		return key.Key{}, fmt.Errorf("find the address of the new key %s: %w", k.ID, err)
	}
	if err := s.registry.Add(ctx, k); err != nil && !s.registered(ctx, k, err) {
		return key.Key{}, fmt.Errorf("register the new key %s: %w", k.ID, err)
	}
	return k, nil
}

// registered looks whether a key whose registration was reported as failed is there all the same.
func (s *Signer) registered(ctx context.Context, k key.Key, failure error) bool {
	if errors.Is(failure, key.ErrExists) {
		return false
	}
	found, err := s.registry.Get(context.WithoutCancel(ctx), k.ID)
	return err == nil && found.Address == k.Address
}

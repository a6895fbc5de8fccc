package signer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
)

// crash leaves a lease behind, with a decision that was not signed when asked for, and starts the next process.
func crash(t *testing.T, r *room, decided bool) (key.Key, []signer.Request) {
	t.Helper()
	k := r.key(t)
	rs := requests(k, 2)
	l, err := r.registry.Lease(t.Context(), key.Request{Holder: "signer/1", Key: k.ID, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if decided {
		if err := r.registry.Reconcile(t.Context(), k.ID, 0); err != nil {
			t.Fatal(err)
		}
		for _, q := range rs {
			if _, err := r.decisions.Decide(t.Context(), l, []signer.Step{q.Step}, transactions(q)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return k, rs
}

func status(t *testing.T, r *room, k key.Key) key.Key {
	t.Helper()
	got, err := r.registry.Get(t.Context(), k.ID)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestI10RecoverReconcilesWhatACrashLeft(t *testing.T) {
	r := newRoom(t)
	fresh, _ := crash(t, r, false)
	k, rs := crash(t, r, true)
	r.start(t, "signer/2")
	var log bytes.Buffer
	nonces := func(context.Context, string, string) (chain.Account, error) { return chain.Account{}, nil }
	s := signer.New(r.registry, r.decisions, r.keys, codecs, nonces, signer.Options{Holder: "signer/2", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := s.Recover(t.Context(), "signer"); err != nil {
		t.Fatal(err)
	}
	for _, left := range []key.Key{fresh, k} {
		if got := status(t, r, left); got.Status != key.Free || !got.Known {
			t.Errorf("recovered as %+v", got)
		}
		if !strings.Contains(log.String(), left.ID) {
			t.Errorf("the log does not name %s: %s", left.ID, log.String())
		}
	}
	if !strings.Contains(log.String(), "signer/1") || !strings.Contains(log.String(), string(rs[1].Step.Message)) {
		t.Errorf("the log names neither holder nor what is left to sign: %s", log.String())
	}
	// The key goes on behind the two decisions; they are signed when their messages resume, with the nonces they have.
	if d := r.sign(t, k, requests(k, 1))[0]; d.Nonce != 2 {
		t.Errorf("the next nonce is %d; want 2", d.Nonce)
	}
	for i, d := range r.sign(t, k, rs) {
		if decode(t, d).Nonce() != uint64(i) {
			t.Errorf("request %d has nonce %d", i, d.Nonce)
		}
	}
}

// TestI5ARestoredCopySignsNothing: the copy was made while nobody held the key, and before the last transactions were decided.
func TestI5ARestoredCopySignsNothing(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	r.sign(t, k, requests(k, 2))
	r.start(t, "signer/2")
	r.chain[k.Address] = 3 // one more than the copy knows of
	if err := r.signer.Recover(t.Context(), "signer"); err != nil {
		t.Fatal(err)
	}
	if _, errs := r.signer.Sign(t.Context(), k.ID, requests(k, 1)); !errors.Is(errs[0], key.ErrForeignUse) {
		t.Errorf("signing from a copy that is older than the chain: %v; want key-foreign-use", errs[0])
	}
	if n := r.keys.signatures(); n != 0 {
		t.Errorf("%d signatures were made", n)
	}
}

func TestForeignUseAndSilentChainStayQuarantined(t *testing.T) {
	r := newRoom(t)
	used, _ := crash(t, r, true)
	mute, rs := crash(t, r, true)
	fine, _ := crash(t, r, true)
	r.start(t, "signer/2")
	silent := errors.New("the node does not answer")
	answers := map[string]uint64{used.Address: 3, fine.Address: 1}
	s := signer.New(r.registry, r.decisions, r.keys, codecs, func(_ context.Context, _, address string) (chain.Account, error) {
		if nonce, ok := answers[address]; ok {
			return chain.Account{Nonce: nonce}, nil
		}
		return chain.Account{}, silent
	}, signer.Options{Holder: "signer/2"})
	if err := s.Recover(t.Context(), "signer"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]key.Status{used.ID: key.Quarantined, mute.ID: key.Quarantined, fine.ID: key.Free} {
		if got := status(t, r, key.Key{ID: id}); got.Status != want {
			t.Errorf("recovered as %+v; want %s", got, want)
		}
	}
	if _, errs := s.Sign(t.Context(), used.ID, requests(used, 1)); !errors.Is(errs[0], key.ErrForeignUse) {
		t.Errorf("signing with a key that somebody else uses: %v; want key-foreign-use", errs[0])
	}
	if _, errs := s.Sign(t.Context(), mute.ID, requests(mute, 1)); !errors.Is(errs[0], silent) {
		t.Errorf("signing with a key whose chain is silent: %v", errs[0])
	}
	// What was decided needs no nonce and no chain.
	if _, errs := s.Sign(t.Context(), mute.ID, rs); errors.Join(errs...) != nil {
		t.Errorf("signing what was decided: %v", errs)
	}
	answers[mute.Address] = 2
	if _, errs := s.Sign(t.Context(), mute.ID, requests(mute, 1)); errs[0] != nil {
		t.Errorf("the chain is back, and signing fails: %v", errs[0])
	}
}

func TestCreateKeyFaults(t *testing.T) {
	r := newRoom(t)
	r.faults.Arm("keys.add.after", fault.Fail, 1)
	k := r.key(t) // registered, and reported as failed
	r.sign(t, k, requests(k, 1))
	r.faults.Arm("keys.add.before", fault.Fail, 1)
	if lost, err := r.signer.CreateKey(t.Context(), network, ""); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("create a key: %+v, %v; want the injected fault", lost, err)
	}
	if keys, err := r.registry.List(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("registered are %+v, %v", keys, err)
	}
	pooled, err := r.signer.CreateKey(t.Context(), network, "hot")
	if err != nil || pooled.Pool != "hot" || status(t, r, pooled) != pooled {
		t.Errorf("created %+v, %v; registered %+v", pooled, err, status(t, r, pooled))
	}
	if _, err := r.signer.CreateKey(t.Context(), "eip155:5", ""); err == nil {
		t.Error("created a key on a chain that there is not")
	}
}

// TestI6WhatTheNodeHasWaitingIsNotDecidedAnew: a restored copy has forgotten what it sent, and the node has not mined it yet.
func TestI6WhatTheNodeHasWaitingIsNotDecidedAnew(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	r.sign(t, k, requests(k, 2))
	r.start(t, "signer")
	r.pool[k.Address] = 3 // one more than was decided
	rs := requests(k, 1)
	if _, errs := r.signer.Sign(t.Context(), k.ID, rs); !errors.Is(errs[0], key.ErrBusy) {
		t.Errorf("it decided all the same: %v", errs[0])
	}
	r.pool[k.Address] = 2 // the node has dropped it
	if d := r.sign(t, k, rs)[0]; d.Nonce != 2 {
		t.Errorf("the nonce is %d", d.Nonce)
	}
}

// haunted is a registry in which a key is set aside again and again, because one holder after the other fails.
type haunted struct{ key.Registry }

func (h haunted) Lease(context.Context, key.Request) (key.Lease, error) {
	return key.Lease{}, key.ErrQuarantined
}

// TestI10AKeySetAsideAgainIsBusy: who has compared a key with its chain and finds it set aside once more comes back later. A message
// that waits for it is not parked for an operator, who could do nothing.
func TestI10AKeySetAsideAgainIsBusy(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	nonces := func(context.Context, string, string) (chain.Account, error) { return chain.Account{}, nil }
	s := signer.New(haunted{r.registry}, r.decisions, r.keys, codecs, nonces, signer.Options{Holder: "signer"})
	if _, errs := s.Sign(t.Context(), k.ID, requests(k, 1)); !errors.Is(errs[0], key.ErrBusy) {
		t.Errorf("signed with a key that is set aside again: %v, want %v", errs[0], key.ErrBusy)
	}
}

// TestARestoredKeyWaitsForItsWatermark: a key that a restore has set aside signs nothing while the chain has mined less than the
// backup knows of, or the node has more waiting; transactions that were forgotten can hide behind those. When just those are mined
// it is free. A chain that is ahead is foreign use.
func TestARestoredKeyWaitsForItsWatermark(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	r.sign(t, k, requests(k, 3))
	if n, err := r.registry.SetAsideRestored(t.Context(), "restored from a backup"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.start(t, "b/sign")
	more := requests(k, 1)
	for _, c := range []struct {
		mined, pool uint64
		refusal     error
	}{{0, 3, key.ErrBusy}, {2, 3, key.ErrBusy}, {3, 4, key.ErrBusy}, {3, 3, nil}} {
		r.chain[k.Address], r.pool[k.Address] = c.mined, c.pool
		if err := r.signer.Recover(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		_, errs := r.signer.Sign(t.Context(), k.ID, more)
		if !errors.Is(errs[0], c.refusal) || (c.refusal == nil) != (errs[0] == nil) {
			t.Fatalf("mined %d, with the node %d: %v; want %v", c.mined, c.pool, errs[0], c.refusal)
		}
		if now := status(t, r, k); (now.Status == key.Quarantined) != (c.refusal != nil) {
			t.Errorf("mined %d, with the node %d: the key is %s", c.mined, c.pool, now.Status)
		}
	}
	if _, err := r.registry.SetAsideRestored(t.Context(), "restored once more"); err != nil {
		t.Fatal(err)
	}
	r.chain[k.Address], r.pool[k.Address] = 9, 9
	if err := r.signer.Reconcile(t.Context(), k.ID); !errors.Is(err, key.ErrForeignUse) {
		t.Errorf("a chain that is ahead: %v; want key-foreign-use", err)
	}
}

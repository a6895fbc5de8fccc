package signer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

// complete signs and stores every decision of the job that has no bytes yet. It needs no lease: the nonce is decided, and
// of two signatures of one decision only the one that was stored first ever leaves (I13).
func (s *Signer) complete(ctx context.Context, j *job) {
	var bare []int
	for i := range j.decisions {
		if j.decided[i] && len(j.decisions[i].Signed.Raw) == 0 {
			bare = append(bare, i)
		}
	}
	if len(bare) == 0 {
		return
	}
	signed := make([]chain.Signed, len(j.decisions))
	s.each(bare, func(i int) { signed[i], j.errs[i] = s.signature(ctx, j.decisions[i]) })
	s.store(ctx, j, bare, signed)
}

// each runs the function for each index on all workers.
func (s *Signer) each(of []int, run func(i int)) {
	if len(of) == 1 {
		run(of[0])
		return
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(s.options.Workers, len(of)) {
		workers.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(of); n = int(next.Add(1)) - 1 {
				run(of[n])
			}
		})
	}
	workers.Wait()
}

// signature signs one committed decision. The private key stays in the key store; what comes back is checked to recover
// to the sender.
func (s *Signer) signature(ctx context.Context, d Decision) (chain.Signed, error) {
	what := fmt.Sprintf("nonce %d of the key %s for %s at %s", d.Nonce, d.Key, d.Step.Message, d.Step.State)
	return s.guarded(what, func() (chain.Signed, error) { return s.assemble(ctx, d.Key, d.Tx, d.Nonce) })
}

// guarded runs a signature between its fault points. A key store that panics fails this signature, not the process.
func (s *Signer) guarded(what string, sign func() (chain.Signed, error)) (signed chain.Signed, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = problem.New(problem.Internal, "signing-failed", "signing %s failed unexpectedly: %v", what, r)
		}
	}()
	if err := s.options.Faults.Hit("signer.sign.before"); err != nil {
		return chain.Signed{}, fmt.Errorf("sign %s: %w", what, err)
	}
	if signed, err = sign(); err != nil {
		return chain.Signed{}, fmt.Errorf("sign %s: %w", what, err)
	}
	if err := s.options.Faults.Hit("signer.sign.after"); err != nil {
		return chain.Signed{}, fmt.Errorf("sign %s: %w", what, err)
	}
	return signed, nil
}

// Seal signs one transaction with a nonce. Whoever calls has committed before that this is to be signed (I7), and stores what
// comes back before it goes anywhere: the transaction manager, for what replaces a decision's own transaction.
func (s *Signer) Seal(ctx context.Context, keyID string, tx chain.Unsigned, nonce uint64) (chain.Signed, error) {
	return s.guarded(fmt.Sprintf("nonce %d of the key %s", nonce, keyID), func() (chain.Signed, error) {
		return s.assemble(ctx, keyID, tx, nonce)
	})
}

func (s *Signer) assemble(ctx context.Context, keyID string, tx chain.Unsigned, nonce uint64) (chain.Signed, error) {
	codec, err := s.codec(tx.Chain)
	if err != nil {
		return chain.Signed{}, err
	}
	digest, err := codec.Digest(tx, nonce)
	if err != nil {
		return chain.Signed{}, err
	}
	var handle keystore.Handle
	if handle, err = s.keys.Open(ctx, keyID); err != nil {
		return chain.Signed{}, err
	}
	signature, err := handle.Sign(ctx, digest)
	if err != nil {
		return chain.Signed{}, err
	}
	return codec.Assemble(tx, nonce, signature)
}

// store keeps the bytes and answers what is stored. A signature that is not known to be stored is dropped.
func (s *Signer) store(ctx context.Context, j *job, bare []int, signed []chain.Signed) {
	var of []int
	var batch []Decision
	for _, i := range bare {
		if j.errs[i] == nil {
			d := j.decisions[i]
			d.Signed = signed[i]
			of, batch = append(of, i), append(batch, d)
		}
	}
	if len(of) == 0 {
		return
	}
	kept, err := s.decisions.Store(ctx, batch)
	if err == nil {
		for n, i := range of {
			j.decisions[i] = kept[n]
		}
		return
	}
	var found map[Step]Decision
	if !refused(err) {
		// Reported as failed, and perhaps stored all the same: what the table says is the answer.
		found, _ = s.decisions.Find(context.WithoutCancel(ctx), j.steps(of))
	}
	for _, i := range of {
		if d := found[j.requests[i].Step]; len(d.Signed.Raw) > 0 {
			j.decisions[i] = d
			continue
		}
		j.errs[i] = fmt.Errorf("store the signed transaction of %s at %s: %w", j.requests[i].Step.Message, j.requests[i].Step.State, err)
	}
}

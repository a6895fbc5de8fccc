// Package signer turns a transaction that a message asks for into signed bytes, at most once for each (message, step).
//
// Lease the key, commit the decision (who, what, which nonce), sign, store the bytes. A signature exists only for a
// committed decision (I7); the same step again gets the stored bytes (I13); a nonce belongs to one decision (I6); a lease
// that was overtaken is refused by the decision's own transaction (I8).
//
// What a crash leaves, and what then happens:
//
//	before the decision     nothing: the step is decided when its message resumes
//	decided, not signed     the nonce is taken; the step is signed with it when its message resumes
//	signed, not stored      the same; a signature that was not stored never left the process
//	stored, not answered    the stored bytes are the answer, for ever
//	lease not released      the key is quarantined until its nonce is reconciled with the chain, by Recover or by the next Sign
//
// It does not send, replace fees or ask whether a message may sign: those are steps of the workflow.
package signer

import (
	"context"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/message"
)

// Step names the effect that a transaction belongs to.
type Step struct {
	Message message.ID
	State   string // the workflow state that signs
}

// Decision is what was decided to be signed. It never changes, but for Signed being filled in once.
type Decision struct {
	Step   Step
	Key    string // key id
	Chain  string
	Nonce  uint64
	Fence  uint64 // of the lease it was made under
	Tx     chain.Unsigned
	Signed chain.Signed // empty until stored
}

// Decisions is the port to the decision table.
//
// Durability: what returned nil is on stable storage. Ordering: nonces of a key are consecutive. Consistency: unique by step,
// unique by (chain, key, nonce); Decide checks the fence against the key's present lease in the same transaction. An error
// that is no refusal leaves the outcome unknown: Find tells. Refusals: lease-stale (A15), and those of errors.go. Fault
// points, ".before" and ".after" each: decisions.decide, decisions.store. Its conformance suite is signertest.
type Decisions interface {
	// Find gives the decisions of those steps that have one.
	Find(ctx context.Context, steps []Step) (map[Step]Decision, error)
	// Decide assigns the lease's key's next nonces to the transactions, in order; a step that is decided already keeps its
	// decision and takes no nonce. lease-stale when the lease has ended, key-unreconciled before the first Reconcile.
	Decide(ctx context.Context, lease key.Lease, steps []Step, txs []chain.Unsigned) ([]Decision, error)
	// Store keeps the signed bytes of decisions; bytes already stored are kept and returned (I13). What nobody decided is
	// decision-unknown, and nothing of the batch is stored (A28). It needs no lease: the nonce is decided, whoever signs.
	Store(ctx context.Context, signed []Decision) ([]Decision, error)
	// Unsigned lists a key's decisions that have no bytes yet: what a crash between deciding and signing left.
	Unsigned(ctx context.Context, keyID string) ([]Decision, error)
}

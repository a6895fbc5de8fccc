package transaction

import (
	"fmt"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// The refusals of Store and Keeper, compared with errors.Is.
var (
	// ErrUnknown: nobody decided a transaction with this nonce.
	ErrUnknown = problem.New(problem.NotFound, "transaction-unknown", "nobody decided a transaction with this nonce")
	// ErrTaken: another attempt has this number already.
	ErrTaken = problem.New(problem.Conflict, "attempt-taken", "another attempt was decided meanwhile; look again")
	// ErrInadmissible: the attempt would break I6, or no node would take it.
	ErrInadmissible = problem.New(problem.Conflict, "replacement-refused", "the replacement is refused")
	// ErrHalted: the key is set aside, so nothing is decided for it.
	ErrHalted = problem.New(problem.Conflict, "key-set-aside", "the key is set aside and decides nothing")
	// ErrSettled: the nonce is spent; nothing can replace it.
	ErrSettled = problem.New(problem.Conflict, "transaction-settled", "the transaction is mined and cannot be replaced")
	// ErrKnown: what became of the transaction is recorded, so nobody has to say it.
	ErrKnown = problem.New(problem.Conflict, "transaction-known", "what became of the transaction is known meanwhile; aval tx why says more")
)

// Words of events.
const (
	EventRaised    = "raised"     // an attempt with a higher price was decided
	EventNoOp      = "no-op"      // an attempt that does nothing was decided
	EventResent    = "resent"     // the node had lost it; its stored bytes were sent again
	EventRefused   = "refused"    // the node will not take it
	EventUnmined   = "unmined"    // a reorganisation took it out of its block before it was confirmed
	EventReversed  = "reversed"   // a reorganisation took it back after it was confirmed
	EventMoved     = "moved"      // a reorganisation put it into another block, deep enough still
	EventLost      = "lost"       // the chain has spent its nonce on something else
	EventUnknown   = "unknown"    // the chain has spent its nonce, and no node keeps what on
	EventResolved  = "resolved"   // an operator has said what its nonce was spent on
	EventHalted    = "key-halted" // the chain shows a use of the key that Aval did not decide
	EventUnpayable = "capped"     // it waits, and its fee policy forbids to offer more
)

// FillStep is the step that stands for a nonce that nobody decided, when it has to be filled: no message has it.
func FillStep(keyID string, nonce uint64) signer.Step {
	return signer.Step{State: "fill " + ID{keyID, nonce}.String()}
}

// Filled says whether the step stands for a nonce that nobody decided: there is no message to ask.
func Filled(step signer.Step) bool { return step.Message == "" }

// AdmitFill is for backends: whether an attempt may fill a nonce below the lane's next one that has no decision.
func AdmitFill(keyID, address string, nonce, next uint64, a Attempt) error {
	switch {
	case a.Number != 0 || a.Kind != NoOp || nonce >= next:
		return problem.New(ErrUnknown.Kind, ErrUnknown.Code, "nobody decided a transaction with nonce %d of the key %s", nonce, keyID)
	case a.Tx.From != address || !a.Tx.Idle():
		return problem.New(ErrInadmissible.Kind, ErrInadmissible.Code, "nonce %d of the key %s cannot be filled so: a no-op pays nothing, to the own address, without data", nonce, keyID)
	}
	return nil
}

// Admit is for backends: whether an attempt may follow those of a transaction. It pays more than the newest, in both fields
// and by what nodes ask of a replacement; it has the decided to, value and data, or it is a no-op; after a no-op follow only
// no-ops, or an intent that was given up could come back.
func Admit(t Transaction, settled uint64, a Attempt) error {
	newest, first := t.Newest(), t.Attempts[0].Tx
	freed := t.Fate.GivenUp() && a.Kind == NoOp // a reorganisation has freed what a stranger had spent
	refuse := func(why string) error {
		return problem.New(ErrInadmissible.Kind, ErrInadmissible.Code, "attempt %d for nonce %d of the key %s is refused: %s", a.Number, t.Nonce, t.Key, why)
	}
	switch {
	case !freed && (t.Nonce < settled || t.Fate.Status == Confirmed || t.Fate.GivenUp()):
		return problem.New(ErrSettled.Kind, ErrSettled.Code, "nonce %d of the key %s is spent; nothing can replace its transaction", t.Nonce, t.Key)
	case a.Number != newest.Number+1:
		return problem.New(ErrTaken.Kind, ErrTaken.Code, "attempt %d of nonce %d of the key %s was decided meanwhile; look again", a.Number, t.Nonce, t.Key)
	case a.Tx.Chain != first.Chain || a.Tx.From != first.From:
		return refuse("it is for another chain or sender")
	case a.Kind == Raise && newest.Kind == NoOp:
		return refuse("the transaction was given up already, so only a no-op may follow")
	case a.Kind == Raise && !a.Tx.SameIntent(first):
		return refuse("it has another to, value or data than what was decided (I6)")
	case a.Kind == NoOp && !a.Tx.Idle():
		return refuse("a no-op pays nothing, to the own address, without data")
	case a.Kind != Raise && a.Kind != NoOp:
		return refuse("only a raise or a no-op can replace")
	case !a.Tx.Price().Outbids(newest.Tx.Price()):
		least := chain.Bump(newest.Tx.Price(), a.Tx.Legacy)
		offer := fmt.Sprintf("%s wei for a unit of gas", least.Fee)
		if least.Tip != nil {
			offer += fmt.Sprintf(", and %s of that as the tip", least.Tip)
		}
		return refuse("nodes take nothing less than a tenth more than the newest attempt, " + offer)
	}
	return nil
}

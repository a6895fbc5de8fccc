// Package sender hands what signing workers have signed to the lanes, as soon as transactions.signed tells of it. The workflow's
// own step does the same a little later and finds it done; a message that is held up holds up no nonce.
//
// The topic is not believed (A28). A record names a step; what is sent are the bytes that the record of truth has for it,
// and only when the record on the topic has the same bytes, and these are the decision's: the sender is recovered, and chain,
// nonce, recipient, value, data and price are compared. What does not fit is never sent. It is parked with its bytes, told to the
// metrics and logged.
//
// What it does not do: sign, or wait for the chain. That the node does not take the bytes now is the lane's keeper's matter.
package sender

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// Group is the group of all senders.
const Group = "sender"

// ErrInjected says that nobody decided what a record of transactions.signed wants to be sent (A28).
var ErrInjected = problem.New(problem.Forbidden, "transaction-injected", "nobody decided the signed transaction")

// Transactions finds what was decided for steps; transaction.Store does.
type Transactions interface {
	// Find gives the transactions of those steps that were decided.
	Find(ctx context.Context, steps []signer.Step) (map[signer.Step]transaction.Transaction, error)
}

// Lanes take the steps whose transactions are to be sent; transaction.Keeper does.
type Lanes interface {
	// Offer gives the node the stored bytes of the steps' transactions. That it did not take them now is no error.
	Offer(ctx context.Context, steps []signer.Step) []error
}

// Sender is the role.
type Sender struct {
	Transactions Transactions
	Lanes        map[string]Lanes                           // by chain
	Codec        func(chain string) (verify.Decoder, error) // an unknown chain is an error
	Observe      func(outcome string, n int)                // for metrics: sent, known and refused; may be nil
	Log          *slog.Logger                               // nil logs nothing
}

// What becomes of records, as Observe is told.
const (
	Sent    = "sent"    // handed to their lane
	Known   = "known"   // with a node already
	Refused = "refused" // not what was decided
)

// Handle hands what records of transactions.signed announce to the lanes; it is a bus.Handler.
func (s *Sender) Handle(ctx context.Context, records []bus.Record) []error {
	errs := make([]error, len(records))
	claims := make([]signer.Decision, len(records))
	var steps []signer.Step
	for i, r := range records {
		var err error
		if claims[i], err = signer.ReadSigned(r); err != nil {
			errs[i] = bus.Unusable(err)
			continue
		}
		steps = append(steps, claims[i].Step)
	}
	found, err := s.Transactions.Find(ctx, steps)
	if err != nil {
		err = fmt.Errorf("look up what is to be sent: %w", err)
	}
	ready := map[string][]int{}
	for i, claim := range claims {
		switch {
		case errs[i] != nil:
			s.observe(Refused, 1)
		case err != nil:
			errs[i] = err
		default:
			var send bool
			if send, errs[i] = s.admit(ctx, records[i], claim, found); send {
				ready[claim.Chain] = append(ready[claim.Chain], i)
			}
		}
	}
	for chain, which := range ready {
		s.offer(ctx, chain, which, claims, errs)
	}
	return errs
}

// admit compares a record with what was decided, and says whether it is to be sent.
func (s *Sender) admit(ctx context.Context, r bus.Record, claim signer.Decision, found map[signer.Step]transaction.Transaction) (send bool, err error) {
	t, decided := found[claim.Step]
	why := "nobody decided to sign anything for this step"
	if decided {
		if why, err = s.compare(claim, t); err != nil {
			return false, bus.Unusable(err)
		}
	}
	if why != "" {
		s.observe(Refused, 1)
		if s.Log != nil {
			s.Log.ErrorContext(ctx, "a signed transaction that nobody decided is refused", "hash", claim.Signed.Hash, "chain", claim.Chain, "key", claim.Key, "nonce", claim.Nonce, "message_id", claim.Step.Message,
				"partition", r.Partition, "offset", r.Offset, "why", why)
		}
		return false, bus.Unusable(problem.New(ErrInjected.Kind, ErrInjected.Code, "%s for %s at %s is not sent: %s", claim.Signed.Hash, claim.Step.Message, claim.Step.State, why))
	}
	if t.Fate.Status != "" {
		s.observe(Known, 1)
		return false, nil
	}
	return true, nil
}

// compare says in what a record is not what was decided and stored, or "".
func (s *Sender) compare(claim signer.Decision, t transaction.Transaction) (why string, err error) {
	first := t.Attempts[0]
	switch {
	case t.Key != claim.Key || t.Nonce != claim.Nonce || first.Tx.Chain != claim.Chain:
		return fmt.Sprintf("nonce %d of the key %s on %s was decided for it", t.Nonce, t.Key, first.Tx.Chain), nil
	case len(first.Signed.Raw) == 0:
		return "no bytes are stored for it", nil
	case !bytes.Equal(first.Signed.Raw, claim.Signed.Raw):
		return "other bytes are stored for it", nil
	}
	codec, err := s.Codec(claim.Chain)
	if err != nil {
		return "", err
	}
	t.Attempts = t.Attempts[:1]
	for _, v := range verify.Attest(codec, first.Tx.Chain, first.Tx.From, t) {
		if v.Word != verify.Good {
			return v.Why, nil
		}
	}
	return "", nil
}

// offer hands records of one chain to its lanes.
func (s *Sender) offer(ctx context.Context, chain string, which []int, claims []signer.Decision, errs []error) {
	lanes, served := s.Lanes[chain]
	if !served {
		for _, i := range which {
			errs[i] = bus.Unusable(problem.New(problem.Invalid, "chain-unknown", "this sender does not serve the chain %s; send it by one that does", chain))
		}
		return
	}
	steps := make([]signer.Step, len(which))
	for n, i := range which {
		steps[n] = claims[i].Step
	}
	sent := 0
	for n, err := range lanes.Offer(ctx, steps) {
		if errs[which[n]] = err; err == nil {
			sent++
		}
	}
	s.observe(Sent, sent)
}

func (s *Sender) observe(outcome string, n int) {
	if s.Observe != nil && n > 0 {
		s.Observe(outcome, n)
	}
}

package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// Group is the group of all verifiers.
const Group = "tx-verify"

// ErrRefused says that a record of transactions.signed is not what was decided (A28).
var ErrRefused = problem.New(problem.Forbidden, "signature-undecided", "the signed transaction is not what was decided")

// Handle judges records of transactions.signed and records the verdicts; it is a bus.Handler. What is not good, and a record that
// says something else than its bytes, is parked, as the evidence.
func (v *Verifier) Handle(ctx context.Context, records []bus.Record) []error {
	errs := make([]error, len(records))
	var seen []Seen
	var claims []signer.Decision
	var at []int
	for i, r := range records {
		d, err := signer.ReadSigned(r)
		if err != nil {
			errs[i] = bus.Unusable(err)
			continue
		}
		seen, claims, at = append(seen, Seen{d.Chain, d.Signed.Raw}), append(claims, d), append(at, i)
	}
	verdicts, err := v.Judge(ctx, seen)
	for n := range verdicts {
		verdicts[n].Source = FromTopic
	}
	if err == nil {
		_, err = v.Record(ctx, verdicts)
	}
	for n, i := range at {
		switch {
		case err != nil:
			errs[i] = fmt.Errorf("verify signed transactions: %w", err)
		case verdicts[n].Word != Good:
			errs[i] = refuse(verdicts[n], verdicts[n].Why)
		case !verdicts[n].says(claims[n]):
			errs[i] = refuse(verdicts[n], "the record tells of another key, nonce, step or hash than its bytes")
		}
	}
	return errs
}

func refuse(v Verdict, why string) error {
	return bus.Unusable(problem.New(ErrRefused.Kind, ErrRefused.Code, "%s is refused as %s: %s", v.Hash, v.Word, why))
}

// says tells whether a record says of its bytes what the verdict does.
func (v Verdict) says(d signer.Decision) bool {
	return v.Hash == d.Signed.Hash && v.Key == d.Key && v.Place == Place{d.Chain, d.Tx.From, d.Nonce} && v.Step == d.Step
}

// Level notes whether there may be more on the topic than was judged: meanwhile nothing that is stored is missed there.
func (v *Verifier) Level(more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if more {
		v.behind = time.Now()
	}
}

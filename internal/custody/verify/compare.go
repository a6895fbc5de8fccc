package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/transaction"
)

// Report is what a comparison has seen.
type Report struct {
	Keys         int          `json:"keys"`
	Transactions int          `json:"transactions"` // decided
	Signatures   int          `json:"signatures"`   // sets of bytes that were stored and judged
	Verdicts     int          `json:"verdicts"`     // earlier verdicts that the stored bytes were compared with
	Found        map[Word]int `json:"found"`        // without the good ones
}

// Clean says whether nothing was found.
func (r Report) Clean() bool { return len(r.Found) == 0 }

// Comparison is what Compare is asked for.
type Comparison struct {
	Since   time.Time     // transactions of messages that were issued earlier are left out; zero: none
	Grace   time.Duration // how long a decision may be without bytes while it is looked at; 0 means 2 s
	Found   func(Verdict) // told of each finding, as it is found
	Report  func(Report)  // told after each page how far it has come; may be nil
	unready []bare
}

// bare is a decision that had no bytes when it was read.
type bare struct {
	key   key.Key
	nonce uint64
	at    time.Time
}

// Compare compares the whole signed set with the decisions, both ways, page by page: what is stored for each decision, what was
// decided and has no bytes, and what was judged before and is stored otherwise today. It changes nothing.
func (v *Verifier) Compare(ctx context.Context, c Comparison) (Report, error) {
	r := Report{Found: map[Word]int{}}
	if c.Grace <= 0 {
		c.Grace = 2 * time.Second
	}
	keys, err := v.Keys.List(ctx)
	if err != nil {
		return r, fmt.Errorf("list the keys to verify: %w", err)
	}
	for _, k := range keys {
		r.Keys++
		if err := v.compareKey(ctx, &c, &r, k); err != nil {
			return r, err
		}
	}
	if err := v.compareFindings(ctx, &c, &r); err != nil {
		return r, err
	}
	return r, v.compareBare(ctx, &c, &r)
}

func (c *Comparison) found(r *Report, one Verdict) {
	r.Found[one.Word]++
	c.Found(one)
}

func (v *Verifier) compareKey(ctx context.Context, c *Comparison, r *Report, k key.Key) error {
	codec, err := v.Codec(k.Chain)
	if err != nil {
		return err
	}
	for from, more := uint64(0), true; more; {
		some, err := v.Transactions.Range(ctx, k.ID, from, page)
		if err != nil {
			return fmt.Errorf("read what the key %s has decided from nonce %d: %w", k.ID, from, err)
		}
		until := uint64(math.MaxInt64) // behind the last one nothing may have been verified
		if more = len(some) == page; more {
			until = some[len(some)-1].Nonce
		}
		v.comparePage(c, r, codec, k, some)
		if err := v.compareVerdicts(ctx, c, r, k, some, from, until); err != nil {
			return err
		}
		if from = until + 1; c.Report != nil {
			c.Report(*r)
		}
	}
	return nil
}

// comparePage judges what is stored for some of a key's transactions.
func (v *Verifier) comparePage(c *Comparison, r *Report, codec Decoder, k key.Key, some []transaction.Transaction) {
	results := make([][]Verdict, len(some))
	v.parallel(len(some), func(i int) {
		if !c.leavesOut(some[i]) {
			results[i] = Attest(codec, k.Chain, k.Address, some[i])
		}
	})
	for i, t := range some {
		if c.leavesOut(t) {
			continue
		}
		r.Transactions++
		if slices.ContainsFunc(t.Attempts, unsigned) {
			c.unready = append(c.unready, bare{k, t.Nonce, time.Now()})
		}
		for _, one := range results[i] {
			r.Signatures++
			if one.Word != Good {
				c.found(r, one)
			}
		}
	}
}

func unsigned(a transaction.Attempt) bool { return len(a.Signed.Raw) == 0 }

// leavesOut says whether the transaction's message was issued before what is asked for.
func (c *Comparison) leavesOut(t transaction.Transaction) bool {
	if c.Since.IsZero() {
		return false
	}
	id, err := t.Step.Message.UUID()
	if err != nil {
		return false
	}
	sec, nsec := id.Time().UnixTime()
	return time.Unix(sec, nsec).Before(c.Since)
}

// compareVerdicts looks whether what was verified before is stored still: that it is not means that a row was changed since.
func (v *Verifier) compareVerdicts(ctx context.Context, c *Comparison, r *Report, k key.Key, some []transaction.Transaction, from, until uint64) error {
	if v.Verdicts == nil {
		return nil
	}
	before, err := v.Verdicts.Good(ctx, k.ID, from, until)
	if err != nil {
		return fmt.Errorf("read earlier verdicts on the key %s: %w", k.ID, err)
	}
	stored := make(map[uint64]transaction.Transaction, len(some))
	for _, t := range some {
		stored[t.Nonce] = t
	}
	for _, was := range before {
		r.Verdicts++
		if t, there := stored[was.Place.Nonce]; !there {
			c.found(r, was.found(Altered, "%s was verified for nonce %d, and nothing is decided for it now", was.Hash, was.Place.Nonce))
		} else if wrong := was.contradicted(t); wrong != "" && !c.leavesOut(t) {
			c.found(r, was.found(Altered, "%s was verified for attempt %d of nonce %d, and %s", was.Hash, was.Attempt, was.Place.Nonce, wrong))
		}
	}
	return nil
}

// contradicted says in what a transaction is not what was verified, or "".
func (v Verdict) contradicted(t transaction.Transaction) string {
	now := ""
	if v.Attempt < len(t.Attempts) {
		now = t.Attempts[v.Attempt].Signed.Hash
	}
	switch {
	case now == "":
		return "no bytes are stored for it now"
	case now != v.Hash:
		return "the bytes stored for it now are " + now
	case t.Step != v.Step:
		return fmt.Sprintf("was then for %s, and is now for %s", named(v.Step), named(t.Step))
	}
	return ""
}

// named is a step in a sentence; what fills a nonce has a state that says so, and no message.
func named(s signer.Step) string {
	if transaction.Filled(s) {
		return s.State
	}
	return string(s.Message) + " at " + s.State
}

// compareFindings tells again what was found before.
func (v *Verifier) compareFindings(ctx context.Context, c *Comparison, r *Report) error {
	if v.Verdicts == nil {
		return nil
	}
	for after := int64(0); ; {
		some, next, err := v.Verdicts.Findings(ctx, after, page)
		if err != nil {
			return fmt.Errorf("read earlier findings: %w", err)
		}
		for _, one := range some {
			if one.At.Before(c.Since) {
				continue
			}
			c.found(r, one)
		}
		if len(some) == 0 {
			return nil
		}
		after = next
	}
}

// compareBare looks again at decisions that had no bytes, when signing has had its time.
func (v *Verifier) compareBare(ctx context.Context, c *Comparison, r *Report) error {
	for _, b := range c.unready {
		if err := lifecycle.Sleep(ctx, time.Until(b.at.Add(c.Grace))); err != nil {
			return err
		}
		some, err := v.Transactions.Range(ctx, b.key.ID, b.nonce, 1)
		if err != nil {
			return fmt.Errorf("read nonce %d of the key %s again: %w", b.nonce, b.key.ID, err)
		}
		if len(some) == 0 || some[0].Nonce != b.nonce {
			continue
		}
		for _, a := range some[0].Attempts {
			if !unsigned(a) {
				continue
			}
			one := Verdict{Place: Place{b.key.Chain, b.key.Address, b.nonce}, Key: b.key.ID, Step: some[0].Step, Attempt: a.Number}
			c.found(r, one.found(Unsigned, "attempt %d of nonce %d is decided and not signed", a.Number, b.nonce))
		}
	}
	return nil
}

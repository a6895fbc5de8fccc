package verify_test

import (
	"context"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/transaction"
)

// edited reads a record of which somebody has changed rows.
type edited struct {
	verify.Transactions
	edit func(*transaction.Transaction)
}

func (e edited) Range(ctx context.Context, key string, from uint64, limit int) ([]transaction.Transaction, error) {
	all, err := e.Transactions.Range(ctx, key, from, limit)
	for i := range all {
		e.edit(&all[i])
	}
	return all, err
}

func TestCompareFindsNothing(t *testing.T) {
	w := newWorld(t)
	w.sign(t, 600)
	w.replace(t, 5, w.raised(6, 1), true)
	pages := 0
	report, found := w.compare(t, verify.Comparison{Report: func(verify.Report) { pages++ }})
	if len(found) > 0 || !report.Clean() || report.Keys != 1 || report.Transactions != 600 || report.Signatures != 601 || pages != 2 {
		t.Errorf("%+v in %d pages, found %v", report, pages, found)
	}
	report, _ = w.compare(t, verify.Comparison{Since: time.Now().Add(time.Hour)})
	if report.Transactions != 0 || !report.Clean() {
		t.Errorf("of messages that are not issued yet: %+v", report)
	}
}

// raised is a raise of the transfer of so many wei.
func (w *world) raised(wei int64, n int) transaction.Attempt {
	a := w.raise(n)
	a.Tx.Value = w.transfer(wei).Value
	return a
}

// TestDecidedAndNeverSigned: a decision without bytes is found when it stays so, and not when it is signed meanwhile.
func TestDecidedAndNeverSigned(t *testing.T) {
	w := newWorld(t)
	w.sign(t, 1)
	bare := w.decide(t, 2)
	w.replace(t, 0, w.raise(1), false)
	report, found := w.compare(t, verify.Comparison{Report: func(verify.Report) {
		bare[1].Signed = w.forge(t, bare[1].Tx, bare[1].Nonce) // while it is looked at
		if _, err := w.decisions.Store(t.Context(), bare[1:]); err != nil {
			t.Error(err)
		}
	}})
	unsigned := found[verify.Unsigned]
	if len(report.Found) != 1 || len(unsigned) != 2 {
		t.Fatalf("found %v", found)
	}
	if unsigned[0].Attempt != 1 || unsigned[0].Place.Nonce != 0 || unsigned[1].Step != bare[0].Step || unsigned[1].Attempt != 0 {
		t.Errorf("found %+v", unsigned)
	}
}

// TestI15EditedRows: each way to change a row after it was signed.
func TestI15EditedRows(t *testing.T) {
	w := newWorld(t)
	w.sign(t, 3)
	raise := w.replace(t, 1, w.raised(2, 1), true)
	forged := w.forge(t, w.transfer(999), 1)
	stranger := newWorld(t)
	theirs := stranger.forge(t, stranger.transfer(2), 1)
	for name, c := range map[string]struct {
		want verify.Word
		edit func(*transaction.Transaction)
	}{
		"the hash":                     {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Signed.Hash = "0x01" }},
		"the bytes":                    {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Signed.Raw = forged.Raw }},
		"hash and bytes":               {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Signed = forged }},
		"bytes of a stranger":          {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Signed = theirs }},
		"bytes of another attempt":     {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Signed = raise.Signed }},
		"broken bytes":                 {verify.Unreadable, func(t *transaction.Transaction) { t.Attempts[0].Signed.Raw = []byte{1} }},
		"the value that was decided":   {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Tx = w.transfer(999) }},
		"a raise to another value":     {verify.Altered, func(t *transaction.Transaction) { t.Attempts[1].Tx, t.Attempts[1].Signed = w.transfer(999), forged }},
		"a no-op that does something":  {verify.Altered, func(t *transaction.Transaction) { t.Attempts[1].Kind = transaction.NoOp }},
		"the number of an attempt":     {verify.Altered, func(t *transaction.Transaction) { t.Attempts[1].Number = 2 }},
		"a first attempt that is none": {verify.Altered, func(t *transaction.Transaction) { t.Attempts[0].Kind = transaction.Raise }},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{keys: w.keys, store: w.store}
			w.verifier = verify.New(verify.Ports{Keys: w.keys, Codec: codecs, Transactions: edited{w.store, func(t *transaction.Transaction) {
				if t.Nonce == 1 {
					c.edit(t)
				}
			}}}, verify.Options{})
			_, found := w.compare(t, verify.Comparison{})
			if len(found) != 1 || len(found[c.want]) == 0 {
				t.Errorf("found %v; want %s", found, c.want)
			}
			for _, v := range found[c.want] {
				if v.Place.Nonce != 1 || v.Why == "" {
					t.Errorf("found %+v", v)
				}
			}
		})
	}
}

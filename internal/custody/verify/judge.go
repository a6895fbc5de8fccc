package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/transaction"
)

// Read decodes bytes and recovers their sender. Where that fails the verdict is there already: unreadable.
func Read(codec Decoder, s Seen) (chain.Decoded, Verdict) {
	d, err := codec.Decode(s.Raw)
	if err != nil {
		sum := sha256.Sum256(s.Raw)
		return d, Verdict{Hash: "sha256:" + hex.EncodeToString(sum[:]), Word: Unreadable, Place: Place{Chain: s.Chain}, Why: err.Error()}
	}
	return d, Verdict{Hash: d.Hash, Place: Place{Chain: d.Tx.Chain, Address: d.Tx.From, Nonce: d.Nonce}}
}

// Judge compares what was read with what is decided at its place; nil when nothing is.
func Judge(codec Decoder, d chain.Decoded, decided *transaction.Transaction) Verdict {
	v := Verdict{Hash: d.Hash, Place: Place{Chain: d.Tx.Chain, Address: d.Tx.From, Nonce: d.Nonce}}
	if decided == nil || len(decided.Attempts) == 0 {
		return v.found(Orphan, "nobody decided a transaction with nonce %d of %s on %s", d.Nonce, d.Tx.From, d.Tx.Chain)
	}
	v.Key, v.Step = decided.Key, decided.Step
	for _, a := range decided.Attempts {
		if a.Signed.Hash == d.Hash {
			return v.stored(codec, d, *decided, a)
		}
	}
	return v.unstored(codec, d, *decided)
}

// stored judges bytes that the record has for an attempt.
func (v Verdict) stored(codec Decoder, d chain.Decoded, t transaction.Transaction, a transaction.Attempt) Verdict {
	v.Attempt = a.Number
	if differs := differences(codec, a.Tx, d.Tx); differs != "" {
		return v.found(Altered, "the bytes stored for attempt %d of nonce %d have %s", a.Number, d.Nonce, differs)
	}
	if wrong := unfit(t, a); wrong != "" {
		return v.found(Altered, "attempt %d of nonce %d %s", a.Number, d.Nonce, wrong)
	}
	v.Word = Good
	return v
}

// unstored judges bytes that the record does not have.
func (v Verdict) unstored(codec Decoder, d chain.Decoded, t transaction.Transaction) Verdict {
	same := false
	for _, a := range t.Attempts {
		if differences(codec, a.Tx, d.Tx) == "" {
			v.Attempt = a.Number
			if len(a.Signed.Raw) == 0 {
				return v.found(Orphan, "attempt %d of nonce %d is decided and has no bytes stored, so nobody may have these", a.Number, d.Nonce)
			}
			return v.found(Double, "attempt %d of nonce %d was signed twice: %s is stored, and these are other bytes", a.Number, d.Nonce, a.Signed.Hash)
		}
		same = same || a.Tx.SameIntent(d.Tx)
	}
	first := t.Attempts[0]
	if same {
		return v.found(Altered, "nobody decided these bytes for nonce %d: what was decided has %s", d.Nonce, differences(codec, d.Tx, first.Tx))
	}
	return v.found(Double, "nonce %d was decided for %s at %s, and these bytes spend it on something else: they have %s", d.Nonce, t.Step.Message, t.Step.State, differences(codec, first.Tx, d.Tx))
}

func (v Verdict) found(word Word, format string, args ...any) Verdict {
	v.Word, v.Why = word, fmt.Sprintf(format, args...)
	return v
}

// unfit says what is wrong with an attempt beside those before it, or "" (I6).
func unfit(t transaction.Transaction, a transaction.Attempt) string {
	first := t.Attempts[0]
	switch {
	case a.Number == 0 && a.Kind != transaction.First:
		return "is no first attempt"
	case a.Kind == transaction.Raise && !a.Tx.SameIntent(first.Tx):
		return "raises the price and changes to, value or data (I6)"
	case a.Kind == transaction.NoOp && !a.Tx.Idle():
		return "is called a no-op and does something (I6)"
	}
	return ""
}

// differences says in what the second transaction differs from the first, or "". Addresses count as addresses, not as text.
func differences(codec Decoder, decided, signed chain.Unsigned) string {
	var all []string
	differ := func(name string, a, b any) { all = append(all, fmt.Sprintf("%s %v instead of %v", name, b, a)) }
	if decided.Chain != signed.Chain {
		differ("the chain", decided.Chain, signed.Chain)
	}
	if !sameAddress(codec, decided.From, signed.From) {
		differ("the sender", decided.From, signed.From)
	}
	if !sameAddress(codec, decided.To, signed.To) {
		differ("the recipient", decided.To, signed.To)
	}
	for _, n := range []struct {
		name string
		a, b *big.Int
	}{{"the value", decided.Value, signed.Value}, {"the fee", decided.Fee, signed.Fee}, {"the tip", decided.Tip, signed.Tip}} {
		if amount(n.a).Cmp(amount(n.b)) != 0 {
			differ(n.name, amount(n.a), amount(n.b))
		}
	}
	if !bytes.Equal(decided.Data, signed.Data) {
		differ("the data", shortened(decided.Data), shortened(signed.Data))
	}
	if decided.Gas != signed.Gas {
		differ("the gas", decided.Gas, signed.Gas)
	}
	if decided.Legacy != signed.Legacy {
		all = append(all, "another kind of price")
	}
	return strings.Join(all, ", ")
}

func sameAddress(codec Decoder, a, b string) bool {
	if a == b {
		return true
	}
	left, err := codec.Address(a)
	if err != nil {
		return false
	}
	right, err := codec.Address(b)
	return err == nil && left == right
}

func amount(n *big.Int) *big.Int {
	if n == nil {
		return new(big.Int)
	}
	return n
}

func shortened(data []byte) string {
	if len(data) > 36 { // a selector and its first argument
		return fmt.Sprintf("0x%x… (%d bytes)", data[:36], len(data))
	}
	return fmt.Sprintf("0x%x", data)
}

// Attest judges every set of bytes that is stored for a transaction of a key's address, and so the transaction itself.
func Attest(codec Decoder, chainID, address string, t transaction.Transaction) []Verdict {
	var all []Verdict
	for i, a := range t.Attempts {
		v := Verdict{Hash: a.Signed.Hash, Place: Place{chainID, address, t.Nonce}, Key: t.Key, Step: t.Step, Attempt: a.Number}
		if a.Number != i {
			all = append(all, v.found(Altered, "attempt %d of nonce %d is missing", i, t.Nonce))
		}
		if len(a.Signed.Raw) == 0 {
			continue
		}
		all = append(all, v.attest(codec, t, a))
	}
	return all
}

// attest judges the bytes of one attempt at the place where they are stored.
func (v Verdict) attest(codec Decoder, t transaction.Transaction, a transaction.Attempt) Verdict {
	d, read := Read(codec, Seen{v.Place.Chain, a.Signed.Raw})
	switch {
	case read.Word != "":
		return v.found(Unreadable, "the bytes stored for attempt %d of nonce %d cannot be read: %s", a.Number, t.Nonce, read.Why)
	case d.Hash != a.Signed.Hash:
		return v.found(Altered, "the bytes stored for attempt %d of nonce %d have the hash %s, and %s is stored with them", a.Number, t.Nonce, d.Hash, a.Signed.Hash)
	case read.Place != v.Place:
		return v.found(Altered, "the bytes stored for attempt %d of nonce %d are a transaction of %s with nonce %d", a.Number, t.Nonce, d.Tx.From, d.Nonce)
	}
	return v.stored(codec, d, t, a)
}

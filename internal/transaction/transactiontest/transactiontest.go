// Package transactiontest is the conformance suite of transaction.Store and transaction.Journal. A backend runs it with Run;
// nothing in it can be left out.
//
// The tiers: basic is one keeper; transactions is what no store may take (I6, A16, A28); concurrency is several keepers on one
// lane; faults is each durable write failed, and persisted but reported as failed, and then a look at everything after a
// restart.
package transactiontest

import (
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/typeid"
)

// Ports are what a backend gives: its store with the keys and decisions that the transactions begin with.
type Ports struct {
	Keys      key.Registry
	Trust     key.Trust
	Decisions signer.Decisions
	Store     transaction.Store
	Journal   transaction.Journal
}

// Harness is a backend under test.
type Harness struct {
	// Open opens all on the same storage again, as the next process does; what was opened before has ended.
	Open func(t testing.TB) Ports
	// Faults are those that all were opened with.
	Faults *fault.Points
}

// Run runs the whole suite; each test gets storage of its own.
func Run(t *testing.T, fresh func(t testing.TB) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/LanesAreOpenUntilSettled":         lanes,
			"basic/AKeyUsedBeforeHasNoOpenLane":      usedBefore,
			"basic/TransactionsReadBack":             readBack,
			"basic/RangesOfALane":                    ranges,
			"basic/I13BytesAreStoredOnce":            sealedOnce,
			"basic/FatesReadBack":                    fates,
			"basic/EventsKeepTheirOrder":             events,
			"basic/I15ByHash":                        byHash,
			"basic/ByMessage":                        byMessage,
			"basic/I12AFreedNonceIsFilled":           filled,
			"transactions/I6AnotherIntent":           anotherIntent,
			"transactions/APriceThatNoNodeTakes":     cheap,
			"transactions/NoWayBackFromANoOp":        noWayBack,
			"transactions/A28NothingUndecidedIsKept": undecided,
			"transactions/WhatIsSpent":               spent,
			"concurrency/AVerdictReplacesUnknown":    told,
			"transactions/AKeyThatIsSetAside":        setAside,
			"concurrency/OneAttemptOfANumber":        oneAttempt,
			"concurrency/OneSignatureIsKept":         oneSignature,
			"faults/Replace":                         replaceFaults,
			"faults/Seal":                            sealFaults,
			"faults/Mark":                            markFaults,
		},
	}.Run(t, func(t *testing.T) Harness { return fresh(t) })
}

const (
	network = "eip155:1337"
	first   = 40 // the nonce that a key starts with: it was used before Aval knew of it
)

// desk is a backend with one key that has decided some transactions.
type desk struct {
	h Harness
	Ports
	k     key.Key
	steps []signer.Step
}

func open(t testing.TB, h Harness, decisions int) *desk {
	t.Helper()
	d := &desk{h: h, Ports: h.Open(t)}
	d.k = d.key(t)
	must(t, d.Keys.Reconcile(t.Context(), d.k.ID, first))
	d.decide(t, decisions)
	return d
}

func (d *desk) key(t testing.TB) key.Key {
	t.Helper()
	id := typeid.New("key")
	k := key.Key{ID: id, Chain: network, Address: "0x" + id}
	must(t, d.Keys.Add(t.Context(), k))
	return k
}

func (d *desk) restart(t testing.TB) { d.Ports = d.h.Open(t) }

// decide makes the key's next decisions and stores their bytes.
func (d *desk) decide(t testing.TB, n int) {
	t.Helper()
	d.decideAs(t, n, func(nonce uint64) string { return bytesFor(d.k.ID, nonce, 0).Hash })
}

// decideAs is decide with hashes of the test's own.
func (d *desk) decideAs(t testing.TB, n int, hash func(nonce uint64) string) {
	t.Helper()
	l, err := d.Keys.Lease(t.Context(), key.Request{Holder: "worker-1/sign", Key: d.k.ID, TTL: time.Hour})
	must(t, err)
	steps, txs := make([]signer.Step, n), make([]chain.Unsigned, n)
	for i := range steps {
		steps[i] = signer.Step{Message: message.NewID(), State: "Sign"}
		txs[i] = chain.Unsigned{
			Chain: network, From: d.k.Address, To: "0xdead", Value: large(i), Data: []byte{0, byte(i)}, Gas: 21000, Fee: big.NewInt(1000), Tip: big.NewInt(100),
		}
	}
	decisions, err := d.Decisions.Decide(t.Context(), l, steps, txs)
	must(t, err)
	for i := range decisions {
		decisions[i].Signed = chain.Signed{Raw: bytesFor(d.k.ID, decisions[i].Nonce, 0).Raw, Hash: hash(decisions[i].Nonce)}
	}
	_, err = d.Decisions.Store(t.Context(), decisions)
	must(t, err)
	must(t, d.Keys.Release(t.Context(), l))
	d.steps = append(d.steps, steps...)
}

// large is a value beyond 128 bits.
func large(i int) *big.Int {
	value, _ := new(big.Int).SetString(fmt.Sprintf("340282366920938463463374607431768211456%d", i), 10)
	return value
}

// bytesFor stands for a signature.
func bytesFor(key string, nonce uint64, number int) chain.Signed {
	return chain.Signed{Raw: []byte(fmt.Sprint(key, nonce, number)), Hash: fmt.Sprintf("0x%064x", fmt.Sprint(nonce, number, key[len(key)-16:]))[:66]}
}

func (d *desk) read(t testing.TB, nonce uint64) transaction.Transaction {
	t.Helper()
	some, err := d.Store.Range(t.Context(), d.k.ID, nonce, 1)
	must(t, err)
	if len(some) != 1 || some[0].Nonce != nonce {
		t.Fatalf("nonce %d of the lane reads %+v", nonce, some)
	}
	return some[0]
}

// raise is the next attempt for a nonce with the least price that a node takes.
func (d *desk) raise(t testing.TB, nonce uint64) transaction.Attempt {
	t.Helper()
	newest := d.read(t, nonce).Newest()
	return transaction.Attempt{
		Number: newest.Number + 1, Kind: transaction.Raise, Tx: newest.Tx.Priced(chain.Bump(newest.Tx.Price(), false)),
		By: transaction.ByKeeper, Why: "it was too cheap", At: time.UnixMilli(1700000000000),
	}
}

// noOp is the same that does nothing.
func (d *desk) noOp(t testing.TB, nonce uint64) transaction.Attempt {
	t.Helper()
	a := d.raise(t, nonce)
	a.Kind, a.By, a.Why = transaction.NoOp, "operator@example.org", "it was a mistake"
	a.Tx.To, a.Tx.Value, a.Tx.Data = a.Tx.From, new(big.Int), nil
	return a
}

func (d *desk) replace(t testing.TB, nonce uint64, a transaction.Attempt) {
	t.Helper()
	must(t, d.Store.Replace(t.Context(), d.k.ID, nonce, a))
}

func (d *desk) mark(t testing.TB, m transaction.Marks) {
	t.Helper()
	must(t, d.Store.Mark(t.Context(), d.k.ID, m))
}

func (d *desk) lane(t testing.TB) (lane transaction.Lane, open bool) {
	t.Helper()
	all, err := d.Store.Lanes(t.Context(), network)
	must(t, err)
	for _, l := range all {
		if l.Key == d.k.ID {
			return l, true
		}
	}
	return lane, false
}

// mined is the fate of a transaction in that block.
func mined(status transaction.Status, block uint64) transaction.Fate {
	return transaction.Fate{
		Status: status, Sent: time.UnixMilli(1700000000000), Success: true, Block: block, Hash: fmt.Sprintf("0x%064x", block), GasUsed: 21000, Fee: large(1),
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err, refusal error) {
	t.Helper()
	if !errors.Is(err, refusal) {
		t.Fatalf("got %v; want %v", err, refusal)
	}
}

// same compares what a person would: big numbers and times by value.
func same(t testing.TB, what string, got, wanted any) {
	t.Helper()
	if g, w := text(got), text(wanted); g != w {
		t.Fatalf("%s:\n%s\nwant\n%s", what, g, w)
	}
}

func text(of any) string {
	switch of := of.(type) {
	case transaction.Transaction:
		all := fmt.Sprintf("%v %s %d", of.Step, of.Key, of.Nonce)
		for _, a := range of.Attempts {
			all += "\n  " + text(a)
		}
		return all + "\n  " + text(of.Fate)
	case transaction.Attempt:
		return fmt.Sprintf("%d %s %+v %+v %s %q %d", of.Number, of.Kind, of.Tx, of.Signed, of.By, of.Why, of.At.UnixMicro())
	case transaction.Fate:
		return fmt.Sprintf("%s %d %d %t %d %s %d %s", of.Status, of.Sent.UnixMicro(), of.Attempt, of.Success, of.Block, of.Hash, of.GasUsed, of.Fee)
	}
	return fmt.Sprintf("%+v", of)
}

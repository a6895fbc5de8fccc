// Package signertest is the conformance suite of signer.Decisions. A backend runs it with Run; nothing in it can be left out.
//
// The tiers: basic is one worker; transactions is what changes together, and what a lease that has ended may not do (I8, A15);
// concurrency is several workers on one key and on one step (I6); faults is each durable write failed, and persisted but reported
// as failed, and then a look at everything after a restart.
package signertest

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
	"github.com/avalhq/aval/internal/typeid"
)

// Harness is a backend under test: its decisions with the registry whose leases they check.
type Harness struct {
	// Open opens both on the same storage again, as the next process does; what was opened before has ended.
	Open func(t testing.TB) (key.Registry, signer.Decisions)
	// Faults are those that both were opened with.
	Faults *fault.Points
}

// Run runs the whole suite; each test gets storage of its own.
func Run(t *testing.T, fresh func(t testing.TB) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/DecisionsReadBack":              readBack,
			"basic/NoncesAreConsecutive":           consecutive,
			"basic/I5DecidedOnce":                  decidedOnce,
			"basic/TwiceInOneBatch":                twiceInOneBatch,
			"basic/I13BytesAreStoredOnce":          storedOnce,
			"basic/Unsigned":                       unsigned,
			"basic/UnfitTransactions":              unfit,
			"basic/UnreconciledKey":                unreconciled,
			"basic/A28NothingUndecidedIsStored":    undecided,
			"transactions/I12ADecisionMovesItsKey": movesItsKey,
			"transactions/A15ReleasedLease":        afterRelease,
			"transactions/A15OvertakenLease":       overtaken,
			"transactions/A15QuarantinedKey":       quarantined,
			"transactions/A15LeaseOfAnother":       ofAnother,
			"concurrency/I6NoncesAreDisjoint":      disjoint,
			"concurrency/I5OneDecisionOfOneStep":   oneDecision,
			"concurrency/I13OneStoredSignature":    oneSignature,
			"faults/Decide":                        decideFaults,
			"faults/Store":                         storeFaults,
		},
	}.Run(t, func(t *testing.T) Harness { return fresh(t) })
}

const (
	network = "eip155:1337"
	first   = 40 // the nonce that a key starts with: it was used before Aval knew of it
)

// desk is a backend with one key, ready to be leased.
type desk struct {
	h Harness
	r key.Registry
	d signer.Decisions
	k key.Key
}

func open(t testing.TB, h Harness) *desk {
	t.Helper()
	w := &desk{h: h}
	w.r, w.d = h.Open(t)
	w.k = w.key(t)
	must(t, w.r.Reconcile(t.Context(), w.k.ID, first))
	return w
}

func (w *desk) key(t testing.TB) key.Key {
	t.Helper()
	id := typeid.New("key")
	k := key.Key{ID: id, Chain: network, Address: "0x" + id}
	must(t, w.r.Add(t.Context(), k))
	return k
}

func (w *desk) restart(t testing.TB) { w.r, w.d = w.h.Open(t) }

func (w *desk) lease(t testing.TB) key.Lease {
	t.Helper()
	l, err := w.r.Lease(t.Context(), key.Request{Holder: "worker-1/sign", Key: w.k.ID, TTL: time.Hour})
	must(t, err)
	return l
}

func (w *desk) release(t testing.TB, l key.Lease) {
	t.Helper()
	must(t, w.r.Release(t.Context(), l))
}

// decide takes a lease for one batch.
func (w *desk) decide(t testing.TB, steps []signer.Step) []signer.Decision {
	t.Helper()
	l := w.lease(t)
	defer w.release(t, l)
	decisions, err := w.d.Decide(t.Context(), l, steps, w.txs(len(steps)))
	must(t, err)
	return decisions
}

// txs is n transactions of the key, each with another value.
func (w *desk) txs(n int) []chain.Unsigned {
	txs := make([]chain.Unsigned, n)
	for i := range txs {
		value, _ := new(big.Int).SetString(fmt.Sprintf("340282366920938463463374607431768211456%d", i), 10) // beyond 128 bits
		txs[i] = chain.Unsigned{
			Chain: w.k.Chain, From: w.k.Address, To: "0xdead", Value: value, Data: []byte{0, 255, byte(i)},
			Gas: 21000, Fee: big.NewInt(3e9), Tip: big.NewInt(1),
		}
	}
	return txs
}

func steps(n int) []signer.Step {
	out := make([]signer.Step, n)
	for i := range out {
		out[i] = signer.Step{Message: message.NewID(), State: "Sign"}
	}
	return out
}

// sign stands for a signature: bytes that depend on the decision and on who made them.
func sign(d signer.Decision, by string) signer.Decision {
	d.Signed = chain.Signed{Raw: []byte(fmt.Sprint(d.Key, d.Nonce, by)), Hash: fmt.Sprintf("0x%064x", fmt.Sprint(d.Nonce, by, d.Key[len(d.Key)-16:]))[:66]}
	return d
}

func signAll(decisions []signer.Decision, by string) []signer.Decision {
	signed := make([]signer.Decision, len(decisions))
	for i, d := range decisions {
		signed[i] = sign(d, by)
	}
	return signed
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

// find reads decisions back, in order; a step without one is a zero Decision.
func (w *desk) find(t testing.TB, steps []signer.Step) []signer.Decision {
	t.Helper()
	found, err := w.d.Find(t.Context(), steps)
	must(t, err)
	out := make([]signer.Decision, len(steps))
	for i, step := range steps {
		out[i] = found[step]
	}
	return out
}

// same compares what a person would: the big numbers by value.
func same(t testing.TB, got, wanted []signer.Decision) {
	t.Helper()
	if len(got) != len(wanted) {
		t.Fatalf("got %d decisions; want %d", len(got), len(wanted))
	}
	for i := range got {
		if g, w := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", wanted[i]); g != w {
			t.Fatalf("decision %d is\n%s\nwant\n%s", i, g, w)
		}
	}
}

// next is the key's next nonce.
func (w *desk) next(t testing.TB) uint64 {
	t.Helper()
	k, err := w.r.Get(t.Context(), w.k.ID)
	must(t, err)
	return k.Nonce
}

// Package verifytest is the conformance suite of verify.Verdicts. A backend runs it with Run; nothing in it can be left out.
//
// The tiers: basic is one verifier; transactions is that a hash has one verdict; concurrency is several that find the same; faults is
// the durable write failed, and persisted but reported as failed.
package verifytest

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/typeid"
)

// Ports are a backend's verdicts, with what stores the bytes that they are about.
type Ports struct {
	Verdicts  verify.Verdicts
	Keys      key.Registry
	Decisions signer.Decisions
	Store     transaction.Store
}

// Harness is a backend under test.
type Harness struct {
	// Open opens the ports on the same storage again, as the next process does; what was opened before has ended.
	Open func(t testing.TB) Ports
	// Faults are those that they were opened with.
	Faults *fault.Points
}

// Run runs the whole suite; each test gets storage of its own.
func Run(t *testing.T, fresh func(t testing.TB) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/VerdictsReadBack":                readBack,
			"transactions/I17OneVerdictForEachHash": once,
			"basic/FindingsByPage":                  pages,
			"basic/I15WhatIsStoredAndNotJudged":     unjudged,
			"concurrency/I17OneVerifierTells":       together,
			"faults/Record":                         faults,
		},
	}.Run(t, func(t *testing.T) Harness { return fresh(t) })
}

const network = "eip155:1337"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// about makes a verdict on a nonce.
func about(word verify.Word, nonce uint64) verify.Verdict {
	v := verify.Verdict{
		Hash: fmt.Sprintf("0x%s-%d", word, nonce), Word: word, Place: verify.Place{Chain: network, Address: "0xa", Nonce: nonce}, Key: "key_a",
		Step: signer.Step{Message: message.NewID(), State: "Sign"}, Attempt: int(nonce % 3), Source: verify.FromTopic,
	}
	if word != verify.Good {
		v.Why = "it is \x00 not good"
	}
	return v
}

// same compares but for the time, which Record sets, and for what no database keeps in a text.
func same(t testing.TB, got []verify.Verdict, want ...verify.Verdict) {
	t.Helper()
	plain := slices.Clone(got)
	for i := range plain {
		if time.Since(plain[i].At) > time.Minute {
			t.Errorf("it was recorded at %s", plain[i].At)
		}
		plain[i].At = time.Time{}
		if i < len(want) && want[i].Why != "" && plain[i].Why != "" {
			plain[i].Why = want[i].Why
		}
	}
	if !slices.Equal(plain, want) {
		t.Fatalf("got %+v\nwant %+v", plain, want)
	}
}

func readBack(t *testing.T, h Harness) {
	good, other, raised := about(verify.Good, 7), about(verify.Good, 5), about(verify.Good, 7)
	raised.Hash, raised.Attempt = "0xraised", 2
	elsewhere, orphan := about(verify.Good, 6), about(verify.Orphan, math.MaxUint64)
	elsewhere.Key, elsewhere.Hash, orphan.Key, orphan.Step = "key_b", "0xelsewhere", "", signer.Step{}
	p := h.Open(t)
	fresh, err := p.Verdicts.Record(t.Context(), []verify.Verdict{raised, good, other, elsewhere, orphan})
	must(t, err)
	same(t, fresh, raised, good, other, elsewhere, orphan)
	p = h.Open(t)
	all, err := p.Verdicts.Good(t.Context(), "key_a", 5, 7)
	must(t, err)
	same(t, all, other, good, raised)
	some, err := p.Verdicts.Good(t.Context(), "key_a", 6, math.MaxInt64)
	must(t, err)
	same(t, some, good, raised)
	found, _, err := p.Verdicts.Findings(t.Context(), 0, 10)
	must(t, err)
	same(t, found, orphan)
	if none, err := p.Verdicts.Record(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("nothing to record: %v, %v", none, err)
	}
}

func once(t *testing.T, h Harness) {
	p := h.Open(t)
	good, twin := about(verify.Good, 1), about(verify.Double, 1)
	twin.Hash = good.Hash
	fresh, err := p.Verdicts.Record(t.Context(), []verify.Verdict{good, twin})
	must(t, err)
	same(t, fresh, good)
	next := about(verify.Good, 2)
	fresh, err = p.Verdicts.Record(t.Context(), []verify.Verdict{twin, next, good})
	must(t, err)
	same(t, fresh, next)
	p = h.Open(t)
	fresh, err = p.Verdicts.Record(t.Context(), []verify.Verdict{twin, next, good})
	must(t, err)
	same(t, fresh)
	found, _, err := p.Verdicts.Findings(t.Context(), 0, 10)
	must(t, err)
	same(t, found)
}

func pages(t *testing.T, h Harness) {
	p := h.Open(t)
	var want []verify.Verdict
	for nonce := range uint64(7) {
		one := about([]verify.Word{verify.Orphan, verify.Double, verify.Altered, verify.Unreadable}[nonce%4], nonce)
		_, err := p.Verdicts.Record(t.Context(), []verify.Verdict{about(verify.Good, nonce), one})
		must(t, err)
		want = append(want, one)
	}
	var got []verify.Verdict
	for after := int64(0); ; {
		some, next, err := p.Verdicts.Findings(t.Context(), after, 3)
		must(t, err)
		if len(some) == 0 {
			if next != after {
				t.Errorf("behind the last page the position is %d, was %d", next, after)
			}
			break
		}
		got, after = append(got, some...), next
	}
	same(t, got, want...)
}

func together(t *testing.T, h Harness) {
	p := h.Open(t)
	var batch []verify.Verdict
	for nonce := range uint64(50) {
		batch = append(batch, about(verify.Orphan, nonce))
	}
	var mu sync.Mutex
	told := map[string]int{}
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			mine := slices.Clone(batch)
			if w%2 == 1 {
				slices.Reverse(mine)
			}
			for len(mine) > 0 { // half of them in the opposite order
				fresh, err := p.Verdicts.Record(t.Context(), mine[:10])
				if err != nil {
					t.Error(err)
					return
				}
				mine = mine[10:]
				mu.Lock()
				for _, one := range fresh {
					told[one.Hash]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, one := range batch {
		if told[one.Hash] != 1 {
			t.Errorf("%s was news %d times", one.Hash, told[one.Hash])
		}
	}
}

func faults(t *testing.T, h Harness) {
	p := h.Open(t)
	one := about(verify.Orphan, 1)
	for point, persisted := range map[string]bool{"verdicts.record.before": false, "verdicts.record.after": true} {
		one.Hash = "0x" + point
		h.Faults.Arm(point, fault.Fail, 1)
		if fresh, err := p.Verdicts.Record(t.Context(), []verify.Verdict{one}); err == nil || len(fresh) > 0 {
			t.Errorf("%s: %v, %v", point, fresh, err)
		}
		p = h.Open(t)
		fresh, err := p.Verdicts.Record(t.Context(), []verify.Verdict{one})
		must(t, err)
		if (len(fresh) == 0) != persisted {
			t.Errorf("%s: afterwards %d were news", point, len(fresh))
		}
	}
}

// unjudged: stored bytes are listed by their age until they have a verdict, those of replacements too.
func unjudged(t *testing.T, h Harness) {
	p := h.Open(t)
	signed := store(t, p, 3)
	list := func(oldest, youngest time.Duration, limit int) (hashes []string) {
		some, err := p.Verdicts.Unjudged(t.Context(), oldest, youngest, limit)
		must(t, err)
		for _, s := range some {
			if s.Chain != network || string(s.Raw) != "raw "+s.Hash || (s.Attempt == 1) != (s.Hash == "0xraised") {
				t.Errorf("it reads %+v", s)
			}
			hashes = append(hashes, s.Hash)
		}
		slices.Sort(hashes)
		return hashes
	}
	want := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v; want %v", what, got, want)
		}
	}
	want("all", list(time.Hour, 0, 10), signed...)
	want("what is older than a minute", list(time.Hour, time.Minute, 10))
	if got := list(time.Hour, 0, 2); len(got) != 2 {
		t.Errorf("2 of them: %v", got)
	}
	v := about(verify.Good, 1)
	for _, hash := range []string{signed[1], "0xraised"} {
		v.Hash = hash
		_, err := p.Verdicts.Record(t.Context(), []verify.Verdict{v})
		must(t, err)
	}
	p = h.Open(t)
	want("the others", list(time.Hour, 0, 10), signed[0], signed[2])
}

// store decides and stores transactions of a key, and a raise of the first; it gives their hashes, sorted.
func store(t *testing.T, p Ports, n int) (hashes []string) {
	t.Helper()
	id := typeid.New(signer.KeyPrefix)
	must(t, p.Keys.Add(t.Context(), key.Key{ID: id, Chain: network, Address: "0x" + id}))
	must(t, p.Keys.Reconcile(t.Context(), id, 0))
	lease, err := p.Keys.Lease(t.Context(), key.Request{Holder: "test/sign", Key: id, TTL: time.Minute})
	must(t, err)
	var steps []signer.Step
	var txs []chain.Unsigned
	for range n {
		steps = append(steps, signer.Step{Message: message.NewID(), State: "Sign"})
		txs = append(txs, chain.Unsigned{Chain: network, From: lease.Key.Address, To: "0xto", Value: big.NewInt(1), Gas: 21000, Fee: big.NewInt(1e9), Tip: big.NewInt(1e9)})
	}
	decided, err := p.Decisions.Decide(t.Context(), lease, steps, txs)
	must(t, err)
	for i := range decided {
		hash := fmt.Sprintf("0x%d", i)
		decided[i].Signed = chain.Signed{Hash: hash, Raw: []byte("raw " + hash)}
		hashes = append(hashes, hash)
	}
	_, err = p.Decisions.Store(t.Context(), decided)
	must(t, err)
	raise := transaction.Attempt{Number: 1, Kind: transaction.Raise, Tx: txs[0].Priced(chain.Bump(txs[0].Price(), false)), By: "test", Why: "to see", At: time.Now()}
	must(t, p.Store.Replace(t.Context(), id, 0, raise))
	_, err = p.Store.Seal(t.Context(), id, 0, 1, chain.Signed{Hash: "0xraised", Raw: []byte("raw 0xraised")})
	must(t, err)
	return append(hashes, "0xraised")
}

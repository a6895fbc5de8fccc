package transactiontest

import (
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/transaction"
)

// refused expects an attempt to leave everything as it is.
func (d *desk) refused(t testing.TB, what string, nonce uint64, a transaction.Attempt, refusal error) {
	t.Helper()
	before := d.read(t, nonce)
	if err := d.Store.Replace(t.Context(), d.k.ID, nonce, a); !errors.Is(err, refusal) {
		t.Errorf("%s: %v; want %v", what, err, refusal)
	}
	same(t, what, d.read(t, nonce), before)
	if events, err := d.Journal.Events(t.Context(), d.k.ID, nonce); err != nil || len(events) != len(before.Attempts)-1 {
		t.Errorf("%s: events %v, %v", what, events, err)
	}
}

func anotherIntent(t *testing.T, h Harness) {
	d := open(t, h, 1)
	for what, spoil := range map[string]func(*transaction.Attempt){
		"another recipient": func(a *transaction.Attempt) { a.Tx.To = "0xbeef" },
		"another value":     func(a *transaction.Attempt) { a.Tx.Value = new(big.Int).Add(a.Tx.Value, big.NewInt(1)) },
		"other data":        func(a *transaction.Attempt) { a.Tx.Data = []byte{0, 1} },
		"no data":           func(a *transaction.Attempt) { a.Tx.Data = nil },
		"another sender":    func(a *transaction.Attempt) { a.Tx.From = "0xbeef" },
		"another chain":     func(a *transaction.Attempt) { a.Tx.Chain = "eip155:1" },
		"a no-op that pays": func(a *transaction.Attempt) { a.Kind, a.Tx.To, a.Tx.Data = transaction.NoOp, a.Tx.From, nil },
		"a no-op elsewhere": func(a *transaction.Attempt) { a.Kind, a.Tx.Value, a.Tx.Data = transaction.NoOp, new(big.Int), nil },
		"a no-op with data": func(a *transaction.Attempt) { a.Kind, a.Tx.Value, a.Tx.To = transaction.NoOp, new(big.Int), a.Tx.From },
		"another decision":  func(a *transaction.Attempt) { a.Kind = transaction.First },
	} {
		a := d.raise(t, first)
		spoil(&a)
		d.refused(t, what, first, a, transaction.ErrInadmissible)
	}
	want(t, d.Store.Replace(t.Context(), d.k.ID, first+1, d.raise(t, first)), transaction.ErrUnknown)
	want(t, d.Store.Replace(t.Context(), "key_none", first, d.raise(t, first)), transaction.ErrUnknown)
}

func cheap(t *testing.T, h Harness) {
	d := open(t, h, 1)
	for range 2 { // above the decision, and above an attempt
		a := d.raise(t, first)
		a.Tx.Fee = new(big.Int).Sub(a.Tx.Fee, big.NewInt(1))
		d.refused(t, "a fee below a tenth more", first, a, transaction.ErrInadmissible)
		a = d.raise(t, first)
		a.Tx.Tip = new(big.Int).Sub(a.Tx.Tip, big.NewInt(1))
		d.refused(t, "a tip below a tenth more", first, a, transaction.ErrInadmissible)
		d.replace(t, first, d.raise(t, first))
	}
}

func noWayBack(t *testing.T, h Harness) {
	d := open(t, h, 1)
	back := d.raise(t, first)
	d.replace(t, first, d.noOp(t, first))
	back.Number = 2
	back.Tx = back.Tx.Priced(chain.Bump(d.read(t, first).Newest().Tx.Price(), false))
	d.refused(t, "the intent again after a no-op", first, back, transaction.ErrInadmissible)
	d.replace(t, first, d.noOp(t, first))
}

func undecided(t *testing.T, h Harness) {
	d := open(t, h, 1)
	d.replace(t, first, d.raise(t, first))
	for what, seal := range map[string]func() error{
		"another number": func() error {
			_, err := d.Store.Seal(t.Context(), d.k.ID, first, 2, bytesFor(d.k.ID, first, 2))
			return err
		},
		"another nonce": func() error {
			_, err := d.Store.Seal(t.Context(), d.k.ID, first+1, 1, bytesFor(d.k.ID, first, 1))
			return err
		},
		"no bytes": func() error {
			_, err := d.Store.Seal(t.Context(), d.k.ID, first, 1, chain.Signed{Hash: "0x01"})
			return err
		},
		"no hash": func() error {
			_, err := d.Store.Seal(t.Context(), d.k.ID, first, 1, chain.Signed{Raw: []byte{1}})
			return err
		},
	} {
		if err := seal(); !errors.Is(err, signer.ErrUndecided) {
			t.Errorf("%s: %v; want decision-unknown", what, err)
		}
	}
	if got := d.read(t, first).Attempts[1].Signed; got.Hash != "" || got.Raw != nil {
		t.Errorf("kept %v", got)
	}
}

func spent(t *testing.T, h Harness) {
	d := open(t, h, 2)
	for _, fate := range []transaction.Fate{mined(transaction.Confirmed, 7), {Status: transaction.Lost}, {Status: transaction.Unknown}} {
		d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first: fate}})
		d.refused(t, string(fate.Status), first, d.raise(t, first), transaction.ErrSettled)
	}
	settled := mined(transaction.Confirmed, 7)
	d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first: settled}, Settled: first + 1})
	d.refused(t, "settled", first, d.raise(t, first), transaction.ErrSettled)
	if err := d.Store.Mark(t.Context(), d.k.ID, transaction.Marks{Fates: map[uint64]transaction.Fate{first: {Status: transaction.Sent}, first + 1: mined(transaction.Mined, 8)}}); err == nil {
		t.Error("the fate of a settled transaction was changed (I14)")
	}
	same(t, "the settled one", d.read(t, first).Fate, settled)
	same(t, "what was marked with it", d.read(t, first+1).Fate, transaction.Fate{})
	known := mined(transaction.Confirmed, 8)
	d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 1: {Status: transaction.Unknown}}, Settled: first + 2})
	for _, status := range []transaction.Status{"", transaction.Sent, transaction.Mined} {
		if err := d.Store.Mark(t.Context(), d.k.ID, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 1: {Status: status}}}); err == nil {
			t.Errorf("what was unknown when it was settled became %q (I14)", status)
		}
	}
	for _, fate := range []transaction.Fate{{Status: transaction.Unknown}, known} {
		d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 1: fate}, Settled: first + 2})
		same(t, "what was unknown when it was settled", d.read(t, first+1).Fate, fate)
	}
	if err := d.Store.Mark(t.Context(), d.k.ID, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 1: {Status: transaction.Unknown}}}); err == nil {
		t.Error("what is known of a settled transaction became unknown (I14)")
	}
}

// told: who says what an unknown transaction came to replaces nothing that is recorded meanwhile, also when it says the same.
func told(t *testing.T, h Harness) {
	d := open(t, h, 2)
	says := func(status transaction.Status) transaction.Marks {
		return transaction.Marks{
			Fates:   map[uint64]transaction.Fate{first: mined(status, 7), first + 1: mined(status, 8)},
			Events:  []transaction.Event{{Nonce: first, What: transaction.EventResolved, By: "operator", Why: "an explorer shows it", At: time.UnixMilli(1700000000000)}},
			Unknown: true,
		}
	}
	d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first: {Status: transaction.Unknown}}})
	want(t, d.Store.Mark(t.Context(), d.k.ID, says(transaction.Confirmed)), transaction.ErrKnown) // of the second nothing is recorded
	d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 1: {Status: transaction.Unknown}}})
	same(t, "what was marked with what is not unknown", d.read(t, first).Fate, transaction.Fate{Status: transaction.Unknown})
	statuses := []transaction.Status{transaction.Confirmed, transaction.Lost}
	var wins atomic.Int64
	n, _ := together(8, func(i int) error {
		err := d.Store.Mark(t.Context(), d.k.ID, says(statuses[i%2]))
		if err == nil {
			wins.Store(int64(i % 2))
		} else if !errors.Is(err, transaction.ErrKnown) {
			t.Errorf("a verdict that came later: %v", err)
		}
		return err
	})
	if n != 1 {
		t.Errorf("%d of 8 verdicts were recorded", n)
	}
	recorded := statuses[wins.Load()]
	same(t, "the verdict that came first", d.read(t, first).Fate, mined(recorded, 7))
	same(t, "and the one with it", d.read(t, first+1).Fate, mined(recorded, 8))
	events, err := d.Journal.Events(t.Context(), d.k.ID, first)
	must(t, err)
	if len(events) != 1 {
		t.Errorf("recorded are %d verdicts", len(events))
	}
}

// setAside: a key that somebody else uses decides nothing, and its lane says why.
func setAside(t *testing.T, h Harness) {
	d := open(t, h, 1)
	if err := d.Keys.Reconcile(t.Context(), d.k.ID, first+5); !errors.Is(err, key.ErrForeignUse) {
		t.Fatal(err)
	}
	if l, open := d.lane(t); !open || l.Halted == "" {
		t.Errorf("the lane is %+v (%t)", l, open)
	}
	d.refused(t, "a key that is set aside", first, d.raise(t, first), transaction.ErrHalted)
}

// together runs n workers at once and counts those without an error.
func together(n int, run func(worker int) error) (done int, errs []error) {
	var wg sync.WaitGroup
	errs = make([]error, n)
	for worker := range n {
		wg.Go(func() { errs[worker] = run(worker) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	return done, errs
}

func oneAttempt(t *testing.T, h Harness) {
	d := open(t, h, 1)
	raise, noop := d.raise(t, first), d.noOp(t, first)
	done, errs := together(8, func(worker int) error {
		a := raise
		if worker%2 == 1 {
			a = noop
		}
		return d.Store.Replace(t.Context(), d.k.ID, first, a)
	})
	for _, err := range errs {
		if err != nil && !errors.Is(err, transaction.ErrTaken) {
			t.Errorf("a worker that was late got %v", err)
		}
	}
	if got := d.read(t, first); done != 1 || len(got.Attempts) != 2 {
		t.Errorf("%d workers decided attempt 1; there are %d", done, len(got.Attempts))
	}
}

func oneSignature(t *testing.T, h Harness) {
	d := open(t, h, 1)
	d.replace(t, first, d.raise(t, first))
	kept := make([]chain.Signed, 8)
	_, errs := together(len(kept), func(worker int) (err error) {
		kept[worker], err = d.Store.Seal(t.Context(), d.k.ID, first, 1, bytesFor(d.k.ID, first, 10+worker))
		return err
	})
	must(t, errors.Join(errs...))
	for _, k := range kept {
		same(t, "kept", k, d.read(t, first).Attempts[1].Signed)
	}
}

// sides is where a write is struck.
func sides(run func(side string, stored bool)) {
	run(".before", false)
	run(".after", true)
}

// replaceFaults: what was reported as failed is there or not, and the same again does not make two.
func replaceFaults(t *testing.T, h Harness) {
	d := open(t, h, 1)
	sides(func(side string, stored bool) {
		a, before := d.raise(t, first), len(d.read(t, first).Attempts)
		h.Faults.Arm("transactions.replace"+side, fault.Fail, 1)
		want(t, d.Store.Replace(t.Context(), d.k.ID, first, a), fault.ErrInjected)
		d.restart(t)
		if got := len(d.read(t, first).Attempts) == before+1; got != stored {
			t.Fatalf("%s: stored is %t", side, got)
		}
		err := d.Store.Replace(t.Context(), d.k.ID, first, a)
		if stored {
			want(t, err, transaction.ErrTaken)
		} else {
			must(t, err)
		}
		events, err := d.Journal.Events(t.Context(), d.k.ID, first)
		must(t, err)
		if got := len(d.read(t, first).Attempts); got != before+1 || len(events) != before {
			t.Fatalf("%s: %d attempts, %d events; there were %d attempts", side, got, len(events), before)
		}
	})
}

func sealFaults(t *testing.T, h Harness) {
	d := open(t, h, 1)
	sides(func(side string, stored bool) {
		a := d.raise(t, first)
		d.replace(t, first, a)
		one, other := bytesFor(d.k.ID, first, a.Number), bytesFor(d.k.ID, first, a.Number+50)
		h.Faults.Arm("transactions.seal"+side, fault.Fail, 1)
		_, err := d.Store.Seal(t.Context(), d.k.ID, first, a.Number, one)
		want(t, err, fault.ErrInjected)
		d.restart(t)
		wanted := other
		if stored {
			wanted = one
		}
		kept, err := d.Store.Seal(t.Context(), d.k.ID, first, a.Number, other)
		must(t, err)
		same(t, side, kept, wanted)
	})
}

func markFaults(t *testing.T, h Harness) {
	d := open(t, h, 1)
	block := uint64(6)
	sides(func(side string, stored bool) {
		before := d.read(t, first).Fate
		block++
		m := transaction.Marks{
			Fates:  map[uint64]transaction.Fate{first: mined(transaction.Mined, block)},
			Events: []transaction.Event{{Nonce: first, What: transaction.EventMoved, By: transaction.ByKeeper, Why: side}},
		}
		h.Faults.Arm("transactions.mark"+side, fault.Fail, 1)
		want(t, d.Store.Mark(t.Context(), d.k.ID, m), fault.ErrInjected)
		d.restart(t)
		wanted, events := before, 0
		if stored {
			wanted, events = m.Fates[first], 1
		}
		same(t, side, d.read(t, first).Fate, wanted)
		got, err := d.Journal.Events(t.Context(), d.k.ID, first)
		must(t, err)
		if len(got) != events {
			t.Errorf("%s: events %v", side, got)
		}
	})
}

// filled: a stranger has spent nonces, which was acknowledged; a reorganisation frees them again. A no-op is decided for them,
// once, and for no others.
func filled(t *testing.T, h Harness) {
	d := open(t, h, 2)
	if err := d.Keys.Reconcile(t.Context(), d.k.ID, first+5); !errors.Is(err, key.ErrForeignUse) {
		t.Fatal(err)
	}
	must(t, d.Trust.Acknowledge(t.Context(), d.k.ID, first+5, "operator@example.org", "known"))
	d.decide(t, 1)
	fill := d.noOp(t, first)
	fill.Number = 0
	elsewhere := fill
	elsewhere.Tx.To = "0xdead"
	for what, c := range map[string]struct {
		nonce uint64
		a     transaction.Attempt
		want  error
	}{
		"another intent":          {first + 3, elsewhere, transaction.ErrInadmissible},
		"a number":                {first + 3, d.noOp(t, first), transaction.ErrUnknown},
		"beyond what was decided": {first + 6, fill, transaction.ErrUnknown},
	} {
		if err := d.Store.Replace(t.Context(), d.k.ID, c.nonce, c.a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d.refused(t, "what has a decision", first, fill, transaction.ErrTaken)
	d.replace(t, first+3, fill)
	if err := d.Store.Replace(t.Context(), d.k.ID, first+3, fill); !errors.Is(err, transaction.ErrTaken) {
		t.Errorf("filled twice: %v", err)
	}
	step := transaction.FillStep(d.k.ID, first+3)
	found, err := d.Decisions.Find(t.Context(), []signer.Step{step})
	must(t, err)
	got := d.read(t, first+3)
	if got.Step != step || !got.Attempts[0].Tx.Idle() || found[step].Nonce != first+3 || len(found[step].Signed.Raw) > 0 {
		t.Errorf("it reads %s, and as a decision %+v", text(got), found[step])
	}
	if events, err := d.Journal.Events(t.Context(), d.k.ID, first+3); err != nil || len(events) != 1 || events[0].What != transaction.EventNoOp {
		t.Errorf("its events are %v, %v", events, err)
	}
	d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 1: {Status: transaction.Lost}}})
	d.refused(t, "a raise of what is lost", first+1, d.raise(t, first+1), transaction.ErrSettled)
	d.replace(t, first+1, d.noOp(t, first+1))
}

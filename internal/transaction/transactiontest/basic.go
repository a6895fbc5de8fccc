package transactiontest

import (
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/transaction"
)

func lanes(t *testing.T, h Harness) {
	d := open(t, h, 0)
	if l, open := d.lane(t); open {
		t.Errorf("a key that has decided nothing has the lane %+v", l)
	}
	d.decide(t, 3)
	wanted := transaction.Lane{Key: d.k.ID, Chain: network, Address: d.k.Address, Next: first + 3, Settled: first}
	for _, settled := range []uint64{first, first + 2, first + 1} { // the last changes nothing
		d.mark(t, transaction.Marks{Settled: settled})
		d.restart(t)
		must(t, d.Keys.Reconcile(t.Context(), d.k.ID, first))
		wanted.Settled = max(wanted.Settled, settled)
		if l, open := d.lane(t); !open || l != wanted {
			t.Fatalf("settled up to %d the lane is %+v (%t); want %+v", settled, l, open, wanted)
		}
	}
	d.mark(t, transaction.Marks{Settled: first + 3})
	if l, open := d.lane(t); open {
		t.Errorf("with everything settled the lane is %+v", l)
	}
	if err := d.Store.Mark(t.Context(), d.k.ID, transaction.Marks{Settled: first + 4}); err == nil {
		t.Error("more was settled than decided")
	}
	if all, err := d.Store.Lanes(t.Context(), "eip155:1"); err != nil || len(all) != 0 {
		t.Errorf("another chain has the lanes %v, %v", all, err)
	}
}

// usedBefore: what a key did before Aval knew of it is no transaction of Aval's.
func usedBefore(t *testing.T, h Harness) {
	d := open(t, h, 0)
	must(t, d.Keys.Reconcile(t.Context(), d.k.ID, first))
	if l, open := d.lane(t); open {
		t.Errorf("its lane is %+v", l)
	}
	d.decide(t, 1)
	if l, _ := d.lane(t); l.Settled != first || l.Next != first+1 {
		t.Errorf("its lane is %+v; want it to begin at %d", l, first)
	}
}

func readBack(t *testing.T, h Harness) {
	d := open(t, h, 2)
	raise := d.raise(t, first)
	d.replace(t, first, raise)
	kept, err := d.Store.Seal(t.Context(), d.k.ID, first, 1, bytesFor(d.k.ID, first, 1))
	must(t, err)
	raise.Signed = kept
	noop := d.noOp(t, first)
	d.replace(t, first, noop)
	d.restart(t)
	got := d.read(t, first)
	if len(got.Attempts) != 3 || got.Step != d.steps[0] || got.Key != d.k.ID || got.Attempts[0].Kind != transaction.First || got.Status() != transaction.Signed {
		t.Fatalf("it reads %s", text(got))
	}
	same(t, "the decision", got.Attempts[0].Signed, bytesFor(d.k.ID, first, 0))
	same(t, "the raise", got.Attempts[1], raise)
	same(t, "the no-op", got.Attempts[2], noop)
	if v := got.Attempts[0].Tx.Value; v.Cmp(large(0)) != 0 {
		t.Errorf("its value is %s", v)
	}
	unknown := signer.Step{Message: d.steps[0].Message, State: "Other"}
	found, err := d.Store.Find(t.Context(), append([]signer.Step{unknown}, d.steps...))
	must(t, err)
	if len(found) != 2 {
		t.Fatalf("found %v", found)
	}
	same(t, "found by its step", found[d.steps[0]], got)
	same(t, "found by its step", found[d.steps[1]], d.read(t, first+1))
}

func ranges(t *testing.T, h Harness) {
	d := open(t, h, 5)
	d.replace(t, first+3, d.raise(t, first+3))
	d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first + 2: mined(transaction.Mined, 9)}})
	some, err := d.Store.Range(t.Context(), d.k.ID, first+1, 3)
	must(t, err)
	if len(some) != 3 || some[0].Nonce != first+1 || some[2].Nonce != first+3 || len(some[2].Attempts) != 2 || len(some[1].Attempts) != 1 || some[1].Fate.Block != 9 || some[0].Fate.Block != 0 {
		t.Errorf("3 from %d: %+v", first+1, some)
	}
	if some, err = d.Store.Range(t.Context(), d.k.ID, first+5, 3); err != nil || len(some) != 0 {
		t.Errorf("beyond the last: %v, %v", some, err)
	}
	_, err = d.Store.Range(t.Context(), "key_none", 0, 3)
	want(t, err, transaction.ErrUnknown)
}

func sealedOnce(t *testing.T, h Harness) {
	d := open(t, h, 1)
	d.replace(t, first, d.raise(t, first))
	mine, yours := bytesFor(d.k.ID, first, 1), bytesFor(d.k.ID, first, 7)
	for _, signed := range []chain.Signed{mine, yours} {
		kept, err := d.Store.Seal(t.Context(), d.k.ID, first, 1, signed)
		must(t, err)
		same(t, "kept", kept, mine)
		d.restart(t)
	}
	same(t, "stored", d.read(t, first).Attempts[1].Signed, mine)
}

func fates(t *testing.T, h Harness) {
	d := open(t, h, 3)
	sent := transaction.Fate{Status: transaction.Sent, Sent: time.UnixMilli(1700000000000)}
	for _, fate := range []transaction.Fate{sent, mined(transaction.Mined, 7), mined(transaction.Confirmed, 7), sent, mined(transaction.Mined, 8), {Status: transaction.Lost}, {Status: transaction.Unknown}} {
		d.mark(t, transaction.Marks{Fates: map[uint64]transaction.Fate{first: fate, first + 2: mined(transaction.Mined, 9)}})
		d.restart(t)
		got := d.read(t, first)
		same(t, "its fate", got.Fate, fate)
		if got.Status() != fate.Status {
			t.Errorf("its status is %s; want %s", got.Status(), fate.Status)
		}
		same(t, "another's fate", d.read(t, first+2).Fate, mined(transaction.Mined, 9))
		same(t, "a third's fate", d.read(t, first+1).Fate, transaction.Fate{})
	}
}

func events(t *testing.T, h Harness) {
	d := open(t, h, 2)
	at := time.UnixMilli(1700000000000)
	raise := d.raise(t, first)
	d.replace(t, first, raise)
	resent := transaction.Event{Nonce: first, What: transaction.EventResent, By: transaction.ByKeeper, Why: "the node had lost it", At: at}
	other := transaction.Event{Nonce: first + 1, What: transaction.EventLost, By: transaction.ByKeeper, Why: "foreign use", At: at}
	d.mark(t, transaction.Marks{Events: []transaction.Event{resent, other, resent}})
	d.restart(t)
	got, err := d.Journal.Events(t.Context(), d.k.ID, first)
	must(t, err)
	wanted := []transaction.Event{raise.Event(first), resent, resent}
	if len(got) != len(wanted) {
		t.Fatalf("events: %+v", got)
	}
	for i := range got {
		if got[i].At = got[i].At.UTC(); !got[i].At.Equal(wanted[i].At) || got[i].What != wanted[i].What || got[i].By != wanted[i].By || got[i].Why != wanted[i].Why || got[i].Nonce != first {
			t.Errorf("event %d is %+v; want %+v", i, got[i], wanted[i])
		}
	}
}

func byHash(t *testing.T, h Harness) {
	d := open(t, h, 2)
	d.replace(t, first, d.raise(t, first))
	_, err := d.Store.Seal(t.Context(), d.k.ID, first, 1, bytesFor(d.k.ID, first, 1))
	must(t, err)
	prefix := bytesFor(d.k.ID, first, 0).Hash[:60] + "000000"                  // shares all but its end
	other := "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBg" + d.k.ID // another chain's notation
	d.decideAs(t, 2, func(nonce uint64) string { return []string{prefix, other}[nonce-first-2] })
	for hash, nonce := range map[string]uint64{
		bytesFor(d.k.ID, first, 0).Hash: first, bytesFor(d.k.ID, first, 1).Hash: first, bytesFor(d.k.ID, first+1, 0).Hash: first + 1,
		prefix: first + 2, other: first + 3,
	} {
		found, err := d.Journal.ByHash(t.Context(), hash)
		must(t, err)
		same(t, hash, found, d.read(t, nonce))
	}
	for _, hash := range []string{"", "0x", "0x00", bytesFor(d.k.ID, first, 9).Hash, prefix[:40], prefix[2:]} {
		_, err := d.Journal.ByHash(t.Context(), hash)
		want(t, err, transaction.ErrUnknown)
	}
}

func byMessage(t *testing.T, h Harness) {
	d := open(t, h, 2)
	d.replace(t, first+1, d.raise(t, first+1))
	found, err := d.Journal.ByMessage(t.Context(), d.steps[1].Message)
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("the message leads to %v", found)
	}
	same(t, "found by its message", found[0], d.read(t, first+1))
	if found, err := d.Journal.ByMessage(t.Context(), "msg_unknown"); err != nil || len(found) != 0 {
		t.Errorf("an unknown message leads to %v, %v", found, err)
	}
}

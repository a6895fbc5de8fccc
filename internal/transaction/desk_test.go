package transaction_test

import (
	"errors"
	"math/big"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// nearlyFree is below every base fee: the pool takes it and no block does.
func nearlyFree(i int, tx *chain.Unsigned) {
	if i == 0 {
		tx.Fee, tx.Tip = big.NewInt(1), big.NewInt(1)
	}
}

// at is the desk of a room whose keeper replaces nothing by itself.
func atDesk(t *testing.T, n int) (*room, *transaction.Desk, []transaction.ID) {
	t.Helper()
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick, Policy: patient(0)})
	desk := &transaction.Desk{Keeper: r.keeper, Journal: r.store}
	steps := r.sign(t, n, nearlyFree)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	ids := make([]transaction.ID, n)
	for i, s := range steps {
		found, err := r.store.ByMessage(t.Context(), s.Message)
		check(t, err)
		ids[i] = transaction.ID{Key: found[0].Key, Nonce: found[0].Nonce}
	}
	return r, desk, ids
}

// show waits until the desk's answer has the words.
func show(t *testing.T, desk *transaction.Desk, id transaction.ID, words string) (r transaction.Report) {
	t.Helper()
	eventually(t, words+" of "+id.String(), func() bool {
		var err error
		r, err = desk.Show(t.Context(), id)
		check(t, err)
		return strings.Contains(r.Sentence+" "+strings.Join(r.Facts, " "), words)
	})
	return r
}

// TestTheDeskSaysWhyAndBumps: the first of a lane is too cheap, those behind it wait, an operator offers more.
func TestTheDeskSaysWhyAndBumps(t *testing.T) {
	_, desk, ids := atDesk(t, 3)
	if r := show(t, desk, ids[0], "the next block asks"); !strings.Contains(r.Remedy, "aval tx bump "+ids[0].String()) {
		t.Errorf("the remedy is %q", r.Remedy)
	}
	if r := show(t, desk, ids[2], "waits for 2 transactions"); !strings.Contains(r.Remedy, "aval tx why "+ids[0].String()) {
		t.Errorf("the remedy is %q", r.Remedy)
	}
	if all, err := desk.List(t.Context(), transaction.Query{}); err != nil || len(all) != 3 {
		t.Errorf("open are %d, %v; want 3", len(all), err)
	}
	if _, err := desk.Bump(t.Context(), ids[0], &chain.Price{Fee: big.NewInt(1), Tip: big.NewInt(1)}, "op", ""); !errors.Is(err, transaction.ErrInadmissible) {
		t.Errorf("a bump that no node takes: %v", err)
	}
	r, err := desk.Bump(t.Context(), ids[0], nil, "op", "payday")
	check(t, err)
	newest := r.Transaction.Newest()
	if newest.Kind != transaction.Raise || newest.By != "op" || newest.Why != "payday" || !newest.Tx.SameIntent(r.Transaction.Attempts[0].Tx) {
		t.Errorf("the bump is %+v", newest)
	}
	for _, id := range ids {
		show(t, desk, id, "It is not pending: it did what it was signed for")
	}
	r = show(t, desk, ids[0], "Attempt 1 (raise")
	if len(r.Events) == 0 || r.Events[0].What != transaction.EventRaised || r.Events[0].By != "op" {
		t.Errorf("the events are %+v", r.Events)
	}
	if found, err := desk.List(t.Context(), transaction.Query{Hash: newest.Signed.Hash}); err != nil && newest.Signed.Hash != "" || len(found) > 1 {
		t.Errorf("found by the hash of the raise: %v, %v", found, err)
	}
	for what, do := range map[string]func() error{
		"bump":   func() error { _, err := desk.Bump(t.Context(), ids[0], nil, "op", ""); return err },
		"cancel": func() error { _, err := desk.Cancel(t.Context(), ids[0], nil, "op", ""); return err },
		"resend": func() error { _, err := desk.Resend(t.Context(), ids[0], "op"); return err },
	} {
		if err := do(); !errors.Is(err, transaction.ErrSettled) {
			t.Errorf("%s of what is mined: %v", what, err)
		}
	}
}

// TestTheDeskSaysWhatItCannotAsk: while no node can be asked, nothing is said of what the chain has, and an act is refused.
func TestTheDeskSaysWhatItCannotAsk(t *testing.T) {
	r, desk, ids := atDesk(t, 1)
	show(t, desk, ids[0], "the next block asks")
	node, err := url.Parse(r.chain.URL())
	check(t, err)
	way := httptest.NewServer(httputil.NewSingleHostReverseProxy(node))
	away, err := evm.Dial(t.Context(), evm.Config{URLs: []string{way.URL}})
	check(t, err)
	t.Cleanup(away.Close)
	way.Close()
	ports := r.keeper.Ports
	ports.Network, ports.Follower, ports.Market = away, away, away
	desk.Keeper = transaction.New(ports, r.options)
	got, err := desk.Show(t.Context(), ids[0])
	check(t, err)
	said := got.Sentence + " " + strings.Join(got.Facts, " ")
	if !strings.Contains(said, "cannot be asked now") || !strings.Contains(said, "chain could not be asked: ") {
		t.Errorf("it says %q, %q", got.Sentence, got.Facts)
	}
	if _, err := desk.Bump(t.Context(), ids[0], nil, "op", ""); problem.From(err).Code != "chain-unreachable" {
		t.Errorf("a bump: %v", err)
	}
}

// TestTheDeskSaysWhatANodeHas: what was sent and dropped is not told as being with a node; what is to be cancelled is told as such.
func TestTheDeskSaysWhatANodeHas(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: transaction.Rules{Grace: time.Hour}})
	desk := &transaction.Desk{Keeper: r.keeper, Journal: r.store}
	steps := r.sign(t, 2, nil)
	id := transaction.ID{Key: r.k.ID, Nonce: 1}
	if got := show(t, desk, id, "It waits for 1 transaction of its lane before it."); got.Transaction.Status() != transaction.Signed {
		t.Errorf("what no node has is told as %s", got.Transaction.Status())
	}
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps[1:])...)) // behind a gap: a node has it, and no block takes it
	if got := show(t, desk, id, "the node has it"); got.Transaction.Status() != transaction.Sent {
		t.Errorf("what a node has is told as %s", got.Transaction.Status())
	}
	_, err := desk.Cancel(t.Context(), id, nil, "alice", "the receiver has changed")
	check(t, err)
	got := show(t, desk, id, "It is being cancelled by a no-op: the receiver has changed. It waits for 1 transaction")
	if told := got.Public(); told != "It is being cancelled by a no-op." {
		t.Errorf("a client is told %q", told)
	}
	if got := show(t, desk, transaction.ID{Key: r.k.ID}, "the node does not have it"); got.Transaction.Status() != transaction.Signed {
		t.Errorf("what no node has is told as %s", got.Transaction.Status())
	}
	check(t, r.keys.Distrust(t.Context(), r.k.ID, "alice", "a court order"))
	got = show(t, desk, id, "a court order")
	if told := got.Public(); told != "It waits because its key is set aside." {
		t.Errorf("a client is told %q", told)
	}
}

// TestTheDeskCancels: the nonce is spent on nothing, and the lane goes on.
func TestTheDeskCancels(t *testing.T) {
	_, desk, ids := atDesk(t, 2)
	show(t, desk, ids[0], "the next block asks")
	if r, err := desk.Resend(t.Context(), ids[0], "op"); err != nil || r.Events[0].What != transaction.EventResent || r.Events[0].By != "op" {
		t.Errorf("resent: %+v, %v", r.Events, err)
	}
	r, err := desk.Cancel(t.Context(), ids[0], nil, "op", "a mistake")
	check(t, err)
	if n := r.Transaction.Newest(); n.Kind != transaction.NoOp || !n.Tx.Idle() || n.Why != "a mistake" {
		t.Errorf("the cancellation is %+v", n)
	}
	show(t, desk, ids[0], "it was cancelled")
	show(t, desk, ids[1], "it did what it was signed for")
}

// TestTheDeskActsBehindAGap: nonce 0 was signed and never sent; what waits behind it is cancelled and raised all the same, and
// what was cancelled stays so.
func TestTheDeskActsBehindAGap(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: transaction.Rules{Grace: time.Hour}})
	desk := &transaction.Desk{Keeper: r.keeper, Journal: r.store}
	steps := r.sign(t, 3, nil)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps[1:])...))
	id := func(nonce uint64) transaction.ID { return transaction.ID{Key: r.k.ID, Nonce: nonce} }
	_, err := desk.Cancel(t.Context(), id(1), nil, "alice", "the receiver has changed")
	check(t, err)
	again, err := desk.Bump(t.Context(), id(1), nil, "alice", "it is urgent")
	if err != nil || again.Transaction.Newest().Kind != transaction.NoOp {
		t.Errorf("what was cancelled was raised as %+v, %v", again.Transaction.Newest(), err)
	}
	_, err = desk.Bump(t.Context(), id(2), nil, "bob", "it is urgent")
	check(t, err)
	r.run(t)
	_, err = desk.Resend(t.Context(), id(0), "bob")
	check(t, err)
	all := r.ended(t, steps)
	for i, kind := range []transaction.Kind{transaction.First, transaction.NoOp, transaction.Raise} {
		if mined, _ := all[i].Ended(); mined.Kind != kind {
			t.Errorf("transaction %d was mined as %+v", i, mined)
		}
	}
}

func TestTransactionIDs(t *testing.T) {
	id := transaction.ID{Key: "key_01", Nonce: 7}
	if got, err := transaction.ParseID(id.String()); err != nil || got != id {
		t.Errorf("read back as %v, %v", got, err)
	}
	for _, text := range []string{"", "key_01", "key_01:", "key_01:-1", "key_01:x", "0xabc", "wal_1:7", "key_01:18446744073709551615"} {
		if _, err := transaction.ParseID(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

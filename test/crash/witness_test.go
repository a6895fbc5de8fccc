package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/test/e2e/stage"
)

// seen is what the table ends with.
type seen struct {
	mined, broadcast, resumed int
	settled                   time.Duration
}

// settle is the last life, in which nothing strikes but one failure that parks a message. Everything has to end, and then
// the witnesses are heard.
func (r *run) settle() {
	ctx := r.t.Context()
	r.spoilReference()
	r.begin(len(r.lives)+1, strike{name: "the last life"})
	r.rows[len(r.rows)-1].before = 0
	p := r.start("signer.sign.before=fail@2")
	began := time.Now()
	for _, chore := range []func(*run) error{(*run).register, (*run).toggle, (*run).openWallet, (*run).rebuild} {
		if err := chore(r); err != nil {
			r.t.Error(err)
		}
	}
	all := r.load.end()
	if err := r.await(ctx); err != nil {
		r.t.Fatalf("%v; aval wrote: %s", err, p.Stderr())
	}
	r.seen.settled = time.Since(began)
	w := &witness{run: r, all: all, claimed: map[string]string{}, decided: map[string]string{}}
	w.hear(ctx)
	if err := p.Stop(); err != nil {
		r.t.Error(err)
	}
	var err error
	if r.passed, err = p.Passed(); err != nil {
		r.t.Error(err)
	}
	w.checkDecisions(ctx)
}

// await waits until nothing is on its way any more (I18). What is parked has a reason, which is told, and goes on.
func (r *run) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		counts, err := r.operator.Counts(r.t.Context())
		if err != nil {
			return err
		}
		open, parked := 0, 0
		for _, c := range counts {
			if c.Status == client.Parked {
				parked += int(c.Number)
			} else if !c.Status.Final() {
				open += int(c.Number)
			}
		}
		if open+parked == 0 {
			return nil
		}
		if parked > 0 {
			if err := r.resume(ctx); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after %v not everything has ended: %v, %s", patience, counts, r.pending())
		}
	}
}

// pending tells why the first messages that have not ended are where they are.
func (r *run) pending() string {
	var all strings.Builder
	for _, status := range []client.Status{client.Running, client.Waiting, client.Parked} {
		page, err := r.operator.List(r.t.Context(), client.Query{Status: status, Limit: 3})
		if err != nil {
			return err.Error()
		}
		for _, m := range page.Messages {
			why, err := r.operator.Why(r.t.Context(), m.ID)
			rec, unread := r.operator.Get(r.t.Context(), m.ID)
			history, unknown := r.operator.History(r.t.Context(), m.ID)
			facts, wrong := json.Marshal(map[string]any{"message": rec, "history": history, "why": why})
			fmt.Fprintf(&all, "%s %v\n", facts, errors.Join(err, unread, unknown, wrong))
		}
	}
	return all.String()
}

// resume lets what is parked go on, as an operator does who has read why it is.
func (r *run) resume(ctx context.Context) error {
	page, err := r.operator.List(ctx, client.Query{Status: client.Parked, Limit: 500})
	if err != nil {
		return err
	}
	for _, m := range page.Messages {
		if m.Reason == "" {
			r.t.Errorf("%s is parked without a reason", m.ID)
		}
		if _, err := r.operator.Resume(ctx, m.ID); err != nil {
			if conflict(err) { // it has gone on, and Reference shows it a moment longer
				continue
			}
			return err
		}
		if !strings.Contains(m.Reason, held) { // its operator's process died
			r.seen.resumed++
			r.t.Logf("%s was parked: %s", m.ID, m.Reason)
		}
	}
	return nil
}

// witness compares what the clients, the chain and the wire say.
type witness struct {
	run    *run
	all    []*sent
	ledger stage.Ledger

	mu      sync.Mutex
	claimed map[string]string // what Aval says was mined: the transaction's hash, by message
	decided map[string]string // the hash of what was decided first
	lost    map[*sent]bool
}

func (w *witness) hear(ctx context.Context) {
	t := w.run.t
	w.lost = map[*sent]bool{}
	var wallets []string
	for _, wallet := range w.run.wallets {
		wallets = append(wallets, wallet.Address)
	}
	var err error
	if w.ledger, err = stage.ReadLedger(ctx, w.run.chain.URL(), wallets...); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	queue := make(chan *sent)
	for range 16 {
		readers.Go(func() {
			for m := range queue {
				if err := w.read(ctx, m); err != nil {
					t.Errorf("message %d, %s %s, submitted in life %d: %v", m.number, m.kind, m.id, m.cycle, err)
				}
			}
		})
	}
	for _, m := range w.all {
		queue <- m
	}
	close(queue)
	readers.Wait()
	w.compare()
	w.verify(ctx)
}

// read asks Aval about a message, and compares with what its client has written down.
func (w *witness) read(ctx context.Context, m *sent) error {
	rec, err := m.party.Get(ctx, m.id)
	if client.CodeOf(err) == "message-unknown" && !m.accepted {
		return nil // nobody was told that it was accepted, and it was not
	}
	if err != nil {
		w.lose(m)
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if rec.Status != client.Succeeded || !rec.Archived {
		w.lose(m)
		return fmt.Errorf("it has not ended well: %+v", rec)
	}
	if m.final.ID != "" && (m.final.Status != rec.Status || m.final.Version != rec.Version) {
		return fmt.Errorf("it had ended as %+v, and then was moved to %+v (I4)", m.final, rec)
	}
	if err := w.original(ctx, m, rec); err != nil {
		w.lose(m)
		return err
	}
	if err := w.history(ctx, m, rec); err != nil {
		return err
	}
	return w.claim(m, rec)
}

// original comes back byte for byte (I1), and again the same record for it (A1).
func (w *witness) original(ctx context.Context, m *sent, rec client.Record) error {
	original, err := m.party.Original(ctx, m.id)
	if err != nil {
		return fmt.Errorf("its original cannot be read (I1): %w", err)
	}
	if !bytes.Equal(original, m.signed) {
		return fmt.Errorf("its original came back as %q, was %q (I1)", original, m.signed)
	}
	again, err := m.party.Submit(ctx, m.id, m.signed)
	if err != nil {
		return fmt.Errorf("submitted again it was refused (A1): %w", err)
	}
	if again.Version != rec.Version || again.Status != rec.Status {
		return fmt.Errorf("submitted again it was answered with %+v, and is %+v (A1)", again, rec)
	}
	return nil
}

// history has every version once, in order, to the last (I4).
func (w *witness) history(ctx context.Context, m *sent, rec client.Record) error {
	entries, err := m.party.History(ctx, m.id)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if e.Version != int64(i)+1 {
			return fmt.Errorf("entry %d of its history has version %d (I4)", i+1, e.Version)
		}
	}
	if int64(len(entries)) != rec.Version {
		return fmt.Errorf("its history has %d entries, and it is at version %d (I4)", len(entries), rec.Version)
	}
	return nil
}

// claim keeps what Aval says that it has sent for a message.
func (w *witness) claim(m *sent, rec client.Record) error {
	if m.kind == "note.v1" {
		return nil
	}
	var ext struct{ Transaction, Confirmation struct{ Hash string } }
	if err := json.Unmarshal(rec.Ext, &ext); err != nil || ext.Transaction.Hash == "" || ext.Confirmation.Hash == "" {
		return fmt.Errorf("its ext names no transaction: %s", rec.Ext)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claimed[m.id] = ext.Confirmation.Hash
	w.decided[m.id] = ext.Transaction.Hash
	return nil
}

func (w *witness) lose(m *sent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost[m] = true
}

// compare holds the messages against the chain, and the chain against the wire: each transfer is there once, with its
// amount, under the hash that Aval tells, and nothing else was ever signed (I5, I7, I13, I15).
func (w *witness) compare() {
	t := w.run.t
	all, expected := w.ledger.Paid(), 0
	for _, m := range w.all {
		hash, claimed := w.claimed[m.id]
		var paid []stage.Entry
		if m.to != "" {
			paid = all[common.HexToAddress(m.to)]
			delete(all, common.HexToAddress(m.to))
		}
		switch {
		case len(paid) > 1:
			t.Errorf("message %d, %s: the chain shows its transfer %d times", m.number, m.id, len(paid))
		case claimed && len(paid) == 0:
			w.lose(m)
			t.Errorf("message %d, %s: the chain does not show its transfer %s", m.number, m.id, hash)
		case len(paid) == 1 && (paid[0].Hash().Hex() != hash || paid[0].Value().String() != m.amount):
			t.Errorf("message %d, %s: the chain shows %s of %s, Aval says %q of %s", m.number, m.id, paid[0].Hash(), paid[0].Value(), hash, m.amount)
		}
		expected += len(paid)
		w.run.count(m, w.lost[m], len(paid) > 1)
	}
	for to := range all {
		t.Errorf("the chain shows a transfer to %s that no message has asked for", to)
	}
	w.compareWire(expected)
}

// compareWire holds what was broadcast against what was mined. Here nothing is given up, so that each does something.
func (w *witness) compareWire(paid int) {
	t := w.run.t
	all := w.run.chain.Wire.Broadcasts()
	raised, wrong := w.ledger.Besides(all)
	for _, err := range wrong {
		t.Error(err)
	}
	w.run.seen.mined, w.run.seen.broadcast = w.ledger.Mined(), len(all)-raised
	if paid != w.run.seen.mined {
		t.Errorf("%d transactions were mined, and %d pay what messages have asked for (I15)", w.run.seen.mined, paid)
	}
}

// verify lets Aval compare Reference with Guarantee (I19).
func (w *witness) verify(ctx context.Context) {
	raw, err := w.run.operator.VerifyReference(ctx)
	var report struct {
		Checked, Missing, Stale, Extra, Differing, Counts int
	}
	if err = errors.Join(err, json.Unmarshal(raw, &report)); err != nil {
		w.run.t.Error(err)
	}
	if report.Missing+report.Stale+report.Extra+report.Differing+report.Counts != 0 || report.Checked == 0 {
		w.run.t.Errorf("Reference is not what Guarantee says: %s (I19)", raw)
	}
}

// checkDecisions opens the system of record, when nobody else does: what was decided is what was signed is what was mined
// (I7, I15), and no key has decided more nonces than the chain has seen (I12).
func (w *witness) checkDecisions(ctx context.Context) {
	t := w.run.t
	custody, err := w.run.backing.custody(ctx, w.run.in)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = custody.end() }()
	for id, hash := range w.decided {
		tx, err := custody.journal.ByHash(ctx, hash)
		if err != nil || tx.Step != (signer.Step{Message: message.ID(id), State: "Sign"}) {
			t.Errorf("%s of %s was decided as %+v, %v (I7)", hash, id, tx.Step, err)
		}
	}
	keys, err := custody.keys.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	decided := 0
	for _, k := range keys {
		decided += int(k.Nonce)
		left, err := custody.decisions.Unsigned(ctx, k.ID)
		if err != nil || len(left) > 0 || k.Status != "free" {
			t.Errorf("the key %s is %s, and this is decided and not signed: %v, %v", k.ID, k.Status, left, err)
		}
	}
	if decided != w.run.seen.mined || w.run.seen.broadcast != decided {
		t.Errorf("%d transactions were decided, %d broadcast, %d mined (I15)", decided, w.run.seen.broadcast, w.run.seen.mined)
	}
}

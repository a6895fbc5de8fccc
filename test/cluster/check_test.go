//go:build cluster

package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

// settle waits until every message has ended (I18); what is parked fails the test. One that takes too long is waited for all the
// same, so that it is known whether it would have ended, and what comes next can be tried.
func (c *crowd) settle() {
	c.t.Helper()
	began, late := time.Now(), false
	accepted := 0
	for _, m := range c.sent {
		if !m.answered.IsZero() {
			accepted++
		}
	}
	var counts []client.Count
	for {
		var err error
		if counts, err = c.operator.Counts(c.t.Context()); err == nil {
			open, ended := 0, 0
			for _, n := range counts {
				if n.Status == client.Succeeded {
					ended += int(n.Number)
				} else {
					open += int(n.Number)
				}
			}
			if open == 0 && ended >= accepted {
				c.t.Logf("%d messages had ended %v after the load", ended, time.Since(began).Round(time.Millisecond))
				return
			}
		}
		if took := time.Since(began); took > patience && !late {
			late = true
			c.t.Errorf("%v after the load: %v, %v (I18)\n%s\n%s", patience, counts, err, c.pending(), c.stderr())
		} else if took > 3*patience {
			c.t.FailNow()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// pending tells why the first messages that have not ended are where they are.
func (c *crowd) pending() string {
	var all strings.Builder
	for _, status := range []client.Status{client.Running, client.Waiting, client.Parked, client.Failed} {
		page, err := c.operator.List(c.t.Context(), client.Query{Status: status, Limit: 3})
		if err != nil {
			return err.Error()
		}
		for _, m := range page.Messages {
			rec, unread := c.operator.Get(c.t.Context(), m.ID)
			why, unknown := c.operator.Why(c.t.Context(), m.ID)
			facts, _ := json.Marshal(map[string]any{"message": rec, "why": why})
			fmt.Fprintf(&all, "%s %v %v\n", facts, unread, unknown)
		}
	}
	return all.String()
}

// stderr is the end of what the processes wrote.
func (c *crowd) stderr() string {
	var all strings.Builder
	for i, p := range c.live {
		text := p.Stderr()
		fmt.Fprintf(&all, "process %d: %s\n", i, text[max(0, len(text)-4000):])
	}
	return all.String()
}

// check hears the clients and the chain: what was accepted is there, byte for byte, and has ended (I1); each transfer was paid once
// (I5), with its amount, and nothing else was (I15); the nonces have no gap and no second (I6, I12); none was decided late (I8);
// no key is left leased or set aside (I10).
func (c *crowd) check() {
	t := c.t
	t.Helper()
	var wallets []string
	for _, p := range c.payers {
		wallets = append(wallets, p.wallet.Address)
	}
	ledger, err := stage.ReadLedger(t.Context(), c.chain.URL(), wallets...)
	if err != nil {
		t.Fatal(err)
	}
	paid := ledger.Paid()
	for _, m := range c.sent {
		txs := paid[m.to]
		switch {
		case m.failed != nil:
			t.Errorf("message %d (%s) to process %d was not accepted: %v", m.number, m.id, m.at, m.failed)
		case m.pays() && (len(txs) != 1 || txs[0].Value().String() != m.amount):
			t.Errorf("message %d (%s) is on the chain %d times (I5)", m.number, m.id, len(txs))
		}
		if m.pays() {
			delete(paid, m.to)
		}
	}
	for to, txs := range paid {
		t.Errorf("%s was paid %d times, and nobody asked for it (I15)", to, len(txs))
	}
	raised, wrong := ledger.Besides(c.chain.Wire.Broadcasts())
	for _, err := range wrong {
		t.Error(err)
	}
	c.read()
	if all, late := c.database.Late(t); all == 0 || late > 0 { // the chain cannot tell: a nonce that is decided late is a nonce all the same
		t.Errorf("of %d decisions %d were made under a lease that had ended (I8)", all, late)
	}
	keys, err := c.operator.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Status != "free" {
			t.Errorf("the key %s is %s: %s (I10)", k.ID, k.Status, k.Reason)
		}
	}
	t.Logf("%d messages; %d transactions mined, %d broadcast besides", len(c.sent), ledger.Mined(), raised)
}

// read compares what Aval shows of each message with what its client wrote down.
func (c *crowd) read() {
	queue := make(chan *sent)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for m := range queue {
				party := m.payer.at[0]
				rec, err := party.Get(c.t.Context(), m.id)
				if err != nil || rec.Status != client.Succeeded {
					c.t.Errorf("message %d (%s) was accepted and is %s, %v (I1, I18)", m.number, m.id, rec.Status, err)
					continue
				}
				original, err := party.Original(c.t.Context(), m.id)
				if err != nil || !bytes.Equal(original, m.signed) {
					c.t.Errorf("the original of message %d (%s) came back as %q, %v (I1)", m.number, m.id, original, err)
				}
				c.mu.Lock()
				m.took = rec.Updated.Sub(m.began)
				c.mu.Unlock()
			}
		})
	}
	for _, m := range c.sent {
		if m.failed == nil {
			queue <- m
		}
	}
	close(queue)
	readers.Wait()
}

// stall is how long submissions may be held up while a process is gone and comes back, on a machine that is busy with that.
const stall = 20 * time.Second

// pace tells the longest time without an accepted submission, and how long submissions took.
func (c *crowd) pace(what string, longest time.Duration) {
	c.t.Helper()
	var answered []time.Time
	var took []time.Duration
	for _, m := range c.sent {
		if m.failed == nil {
			answered, took = append(answered, m.answered), append(took, m.answered.Sub(m.began))
		}
	}
	slices.SortFunc(answered, time.Time.Compare)
	var gap time.Duration
	for i := 1; i < len(answered); i++ {
		gap = max(gap, answered[i].Sub(answered[i-1]))
	}
	c.t.Logf("%s: %d submissions; longest gap %v; answered after %s", what, len(took), gap.Round(time.Millisecond), spread(took))
	if gap > longest {
		c.t.Errorf("%s: for %v nothing was accepted", what, gap)
	}
}

// spread tells how long things took.
func spread(took []time.Duration) string {
	if len(took) == 0 {
		return "none"
	}
	slices.Sort(took)
	at := func(hundredths int) time.Duration { return took[(len(took)-1)*hundredths/100].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %v, p99 %v, longest %v", at(50), at(99), at(100))
}

// rise tells how long messages took that were submitted before, during and after a time, and for how long after each turn of it they
// took twice as long as before: less than five seconds, which the long run holds it to. Notes, which wait for the database alone,
// and transfers are told apart.
func (c *crowd) rise(began, ended time.Time, turns []time.Time) {
	c.t.Helper()
	for kind, pays := range map[string]bool{"notes": false, "transfers": true} {
		of := func(from, until time.Time) (took []time.Duration) {
			for _, m := range c.sent {
				if m.pays() == pays && m.failed == nil && !m.began.Before(from) && m.began.Before(until) {
					took = append(took, m.took)
				}
			}
			slices.Sort(took)
			return took
		}
		before := of(c.sent[0].began.Add(time.Second), began) // without the first connections
		c.t.Logf("%s, from submission to end: before %s; during %s; after %s", kind, spread(before), spread(of(began, ended)), spread(of(ended, time.Now())))
		usual := p99(before)
		for n, turn := range turns {
			until := append(turns, ended)[n+1]
			var risen time.Duration
			for at := turn; at.Before(until); at = at.Add(half) {
				if p99(of(at, at.Add(half))) > 2*usual {
					risen = at.Add(half).Sub(turn)
				}
			}
			c.t.Logf("%s, restart %d: p99 of half a second above twice the usual %v until %v after it began", kind, n, usual.Round(time.Millisecond), risen)
			if risen >= 5*time.Second && *every { // on a machine that has the time
				c.t.Errorf("restart %d raised the latency of %s for %v", n, kind, risen)
			}
		}
	}
}

// half is what latencies are compared over.
const half = 500 * time.Millisecond

// p99 is the 99th percentile of what is sorted.
func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return took[(len(took)-1)*99/100]
}

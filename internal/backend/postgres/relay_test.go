//go:build cluster

package postgres_test

import (
	"context"
	"encoding/json"
	"math/big"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/relay"
)

// relaying runs a relay of one source until the test ends.
func relaying(t *testing.T, db *postgres.DB, source relay.Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	t.Cleanup(func() { cancel(); ended.Wait() })
	r := &relay.Relay{Sources: []relay.Source{source}, Cursors: postgres.NewCursors(db), Bus: postgres.NewBus(db), Batch: 7}
	ended.Go(func() { _ = r.Run(ctx) })
}

// poll reads a topic, as one of a group, until enough says so.
func poll(t *testing.T, db *postgres.DB, topic string, enough func(bus.Record) bool) {
	t.Helper()
	m, err := postgres.NewBus(db).Join(t.Context(), "test", topic)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	ctx := within(t, time.Minute)
	for {
		records, err := m.Poll(ctx, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if enough(r) {
				return
			}
		}
		if err := m.Commit(ctx, records); err != nil {
			t.Fatal(err)
		}
	}
}

func toSign(n int, key string) []signer.Request {
	out := make([]signer.Request, n)
	for i := range out {
		out[i] = signer.Request{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Key: key, Tx: chain.Unsigned{Value: big.NewInt(1)}}
	}
	return out
}

// TestI16EveryRequestIsRelayed: while several commit, and while the relay fails before and after it has stored how far it is, each
// request comes to the topic, those of one key in the order in which they were committed.
func TestI16EveryRequestIsRelayed(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	requests := postgres.NewRequests(db)
	s.faults.Arm("relay.advance.before", fault.Fail, 3)
	s.faults.Arm("relay.advance.after", fault.Fail, 5)
	relaying(t, db, &relay.Unsigned{Requests: requests})
	const writers, each = 5, 40
	order := make([]map[signer.Step]int, writers) // of each writer's own key
	var all sync.WaitGroup
	for w := range writers {
		order[w] = map[signer.Step]int{}
		all.Go(func() {
			for n := range each {
				batch := toSign(1, string(rune('a'+w)))
				order[w][batch[0].Step] = n
				if err := requests.Put(t.Context(), batch); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	seen, next := 0, [writers]int{}
	poll(t, db, bus.Unsigned, func(r bus.Record) bool {
		step, err := signer.ReadUnsigned(r)
		if err != nil {
			t.Fatal(err)
		}
		w := int(r.Key[0] - 'a')
		n, known := order[w][step]
		if !known || n > next[w] {
			t.Fatalf("of the key %s %v came as number %d, after %d others", r.Key, step, n, next[w])
		}
		if n == next[w] { // not again
			next[w]++
			seen++
		}
		return seen == writers*each
	})
}

// TestWhatIsNotAnsweredIsRelayedAgain: a record may be lost with its topic. What was answered does not come back.
func TestWhatIsNotAnsweredIsRelayedAgain(t *testing.T) {
	db := newStorage(t).open(t)
	requests := postgres.NewRequests(db)
	batch := toSign(2, "k")
	if err := requests.Put(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := requests.Close(t.Context(), []signer.Step{batch[0].Step}); err != nil {
		t.Fatal(err)
	}
	relaying(t, db, &relay.Unsigned{Requests: requests, Again: 100 * time.Millisecond})
	times := 0
	poll(t, db, bus.Unsigned, func(r bus.Record) bool {
		if step, err := signer.ReadUnsigned(r); err != nil || step != batch[1].Step {
			t.Fatalf("%v, %v was relayed", step, err)
		}
		times++
		return times == 3
	})
}

// TestNoRequestWaitsBehindOthers: what nobody answers is relayed again beside more of its kind than are looked at once (I18).
func TestNoRequestWaitsBehindOthers(t *testing.T) {
	db := newStorage(t).open(t)
	requests := postgres.NewRequests(db)
	if err := requests.Put(t.Context(), toSign(1200, "stuck")); err != nil {
		t.Fatal(err)
	}
	last := toSign(1, "k")
	if err := requests.Put(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	relaying(t, db, &relay.Unsigned{Requests: requests, Again: 100 * time.Millisecond})
	times := 0
	poll(t, db, bus.Unsigned, func(r bus.Record) bool {
		if step, err := signer.ReadUnsigned(r); err != nil {
			t.Fatal(err)
		} else if step == last[0].Step {
			times++
		}
		return times == 3
	})
}

// TestEventsAreCloudEvents reads the topic with CloudEvents' own reader. The outbox keeps what was not relayed yet.
func TestEventsAreCloudEvents(t *testing.T) {
	db := newStorage(t).open(t)
	g, outbox := postgres.NewGuarantee(db), postgres.NewOutbox(db)
	recs := accepted(t, g, 3)
	if _, err := postgres.NewCursors(db).Cursor(t.Context(), bus.Events); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Trim(t.Context(), 1<<62); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]guarantee.Record{}
	for _, rec := range recs {
		wanted[string(rec.ID)+"/1"] = rec
	}
	relaying(t, db, &relay.Events{Outbox: outbox, Address: "0xA1"})
	poll(t, db, bus.Events, func(r bus.Record) bool {
		var e cloudevents.Event
		if err := json.Unmarshal(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		var data relay.Moved
		if err := e.DataAs(&data); err != nil || e.Validate() != nil {
			t.Fatal(err, e.Validate())
		}
		rec := wanted[e.ID()]
		if e.SpecVersion() != "1.0" || e.Source() != "urn:aval:0xA1" || e.Type() != relay.EventType || e.Subject() != string(rec.ID) || r.Key != e.Subject() ||
			!e.Time().Equal(rec.Updated) || data.Client != "cli_a" || data.State != rec.State || r.Headers["content-type"] == "" {
			t.Errorf("the event %s with %+v in %v is not of %+v", r.Value, data, r.Headers, rec)
		}
		delete(wanted, e.ID())
		return len(wanted) == 0
	})
	for ctx := within(t, time.Minute); ; { // once the cursor is stored it can be trimmed
		err := outbox.Trim(ctx, 1<<62)
		if err != nil {
			t.Fatalf("what was relayed stays in the outbox: %v", err)
		}
		if first, last, err := outbox.Bounds(t.Context()); err != nil || first > last {
			return
		}
	}
}

//go:build cluster

package kafka_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/action/feeder/feedertest"
	"github.com/avalhq/aval/internal/action/feeder/handed"
	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/internal/backend/postgres"
	pgtrial "github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
)

var database = pgtrial.Server{Given: os.Getenv(pgtrial.Variable)}

func TestMain(m *testing.M) { database.Main(m) }

// world is a database and topics that processes share, one after the other.
type world struct {
	database pgtrial.Database
	options  kafka.Options
	again    time.Duration // of the relay; 0 is longer than the suite waits for anything

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T, partitions int32) *world {
	t.Helper()
	w := &world{database: database.Fresh(t), options: server.Fresh(t, partitions), now: feedertest.Start}
	w.options.Session = time.Second
	return w
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// process is one with all that the feeder needs.
type process struct {
	db     *postgres.DB
	feeder *handed.Feeder
	table  *postgres.Feeder
	crash  func()
}

func (w *world) start(t *testing.T) process {
	t.Helper()
	db, err := postgres.Open(t.Context(), w.database.URL, postgres.Options{Name: "test", Pool: 8})
	if err != nil {
		t.Fatal(err)
	}
	bus := join(t, w.options)
	table := postgres.NewFeeder(db, w.Now)
	f := &handed.Feeder{Table: table, Bus: bus.Bus, Parked: postgres.NewParked(db)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = (&handed.Relay{Table: table, Bus: bus.Bus, Again: w.again}).Run(ctx)
	}()
	crash := sync.OnceFunc(func() {
		bus.Crash()
		cancel()
		<-ended
		w.database.Cut(t)
		_ = db.Close() // nothing can be given back any more
	})
	t.Cleanup(crash)
	return process{db: db, feeder: f, table: table, crash: crash}
}

// TestFeeder runs the feeder's suite with ids that travel over Kafka; what is due is in PostgreSQL. With one partition ids come in
// the order in which they were handed out.
func TestFeeder(t *testing.T) {
	feedertest.Run(t, func(t *testing.T) feedertest.Backend { return newWorld(t, 1).backend(t) })
}

// beside is another process on the same database.
func (w *world) beside(t *testing.T) feeder.Nudges {
	db, err := postgres.Open(t.Context(), w.database.URL, postgres.Options{Name: "test", Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the database may be cut off
	return postgres.NewFeeder(db, w.Now)
}

func (w *world) backend(t *testing.T) feedertest.Backend {
	p := w.start(t)
	return feedertest.Backend{Feeder: p.feeder, Nudges: p.table, Beside: w.beside, Store: postgres.NewGuarantee(p.db), Advance: w.advance, Reopen: func(t *testing.T) feedertest.Backend {
		p.crash()
		return w.backend(t)
	}}
}

// drain carries messages to their end until so many have ended, and says how often each was claimed.
func drain(ctx context.Context, t *testing.T, p process, n int) map[message.ID]int {
	t.Helper()
	claimed := map[message.ID]int{}
	store := postgres.NewGuarantee(p.db)
	for ended := 0; ended < n; {
		ids, err := p.feeder.Claim(ctx, 50)
		if ctx.Err() != nil {
			t.Fatalf("after %d of %d messages: %v", ended, n, err)
		}
		if err != nil {
			continue // a topic that is away for a moment
		}
		recs, err := store.Load(ctx, ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recs {
			refused, err := store.Commit(ctx, []guarantee.Transition{guaranteetest.Step(rec, "Done", guarantee.Succeeded)})
			if err != nil || refused[0] != nil {
				t.Fatal(err, refused)
			}
			claimed[rec.ID]++
			ended++
		}
		if err := p.feeder.Settle(ctx, ids); err != nil {
			t.Fatal(err)
		}
	}
	return claimed
}

func accept(t *testing.T, p process, n int) {
	t.Helper()
	for i := range n {
		guaranteetest.Accept(t, postgres.NewGuarantee(p.db), "cli_a", fmt.Sprint(i))
	}
}

func once(t *testing.T, claimed map[message.ID]int) {
	t.Helper()
	for id, n := range claimed {
		if n != 1 {
			t.Errorf("%s was carried out %d times", id, n)
		}
	}
}

// TestI17OffsetsThatAreResetDoNoHarm: the group reads the whole topic again; nothing is claimed that has ended.
func TestI17OffsetsThatAreResetDoNoHarm(t *testing.T) {
	w := newWorld(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	first := w.start(t)
	accept(t, first, 100)
	once(t, drain(ctx, t, first, 100))
	first.crash()
	admin := server.Admin(t)
	for { // the group is not empty before the dead member's session has ended
		if _, err := admin.DeleteGroup(ctx, w.options.Prefix+handed.Group); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the group's offsets could not be reset")
		}
	}
	second := w.start(t)
	accept(t, second, 50)
	once(t, drain(ctx, t, second, 50))
}

// TestI18ATopicThatIsLostIsFilledAgain: ids are on the topic and nobody has read them when it is deleted.
func TestI18ATopicThatIsLostIsFilledAgain(t *testing.T) {
	w := newWorld(t, 2)
	w.again = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	p := w.start(t)
	accept(t, p, 100)
	for d := int64(0); d < 100; { // handed out, so that a rebuild alone would bring them again
		offsets, err := server.Admin(t).ListEndOffsets(ctx, w.options.Prefix+bus.Due)
		if err != nil {
			t.Fatal(err)
		}
		d = 0
		for _, o := range offsets.Offsets()[w.options.Prefix+bus.Due] {
			d += o.At
		}
	}
	if _, err := server.Admin(t).DeleteTopic(ctx, w.options.Prefix+bus.Due); err != nil {
		t.Fatal(err)
	}
	if did := again(ctx, t, w.options); did != "make" {
		t.Fatalf("the topic was not made again: %q", did)
	}
	accept(t, p, 20)
	once(t, drain(ctx, t, p, 120))
}

// TestARecordThatIsNoIDIsParked, and holds up nothing (I18).
func TestARecordThatIsNoIDIsParked(t *testing.T) {
	w := newWorld(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	foreign := join(t, w.options)
	if err := foreign.Bus.Publish(ctx, []bus.Record{{Topic: bus.Due, Key: "drop table", Value: []byte{0, 1}}}); err != nil {
		t.Fatal(err)
	}
	p := w.start(t)
	accept(t, p, 3)
	once(t, drain(ctx, t, p, 3))
	list, err := postgres.NewParked(p.db).List(ctx, 0, 10)
	if err != nil || len(list) != 1 || list[0].Key != "drop table" || string(list[0].Value) != "\x00\x01" {
		t.Errorf("parked are %+v, %v", list, err)
	}
}

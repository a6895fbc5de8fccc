//go:build cluster

package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/action/feeder/feedertest"
	"github.com/avalhq/aval/internal/action/feeder/handed"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// TestFeederOverTheBus runs the feeder's suite with ids that travel over PostgreSQL's own bus.
func TestFeederOverTheBus(t *testing.T) {
	feedertest.Run(t, func(t *testing.T) feedertest.Backend {
		return handedIn(t, newStorage(t), &clock{now: feedertest.Start})
	})
}

func handedIn(t *testing.T, s *storage, c *clock) feedertest.Backend {
	db := s.open(t)
	table, carrier := postgres.NewFeeder(db, c.Now), postgres.NewBus(db)
	stop := handing(t, &handed.Relay{Table: table, Bus: carrier})
	f := &handed.Feeder{Table: table, Bus: carrier, Parked: postgres.NewParked(db)}
	return feedertest.Backend{Feeder: f, Nudges: table, Beside: beside(s), Store: postgres.NewGuarantee(db), Advance: c.advance, Reopen: func(t *testing.T) feedertest.Backend {
		stop()
		return handedIn(t, s, c)
	}}
}

// handing runs the relay until it is stopped.
func handing(t *testing.T, r *handed.Relay) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// TestTable runs the suite of what the relay and the controllers ask of the table.
func TestTable(t *testing.T) {
	feedertest.RunTable(t, func(t *testing.T) feedertest.TableBackend {
		s, c := newStorage(t), &clock{now: feedertest.Start}
		db := s.open(t)
		second := another(t, s)
		t.Cleanup(func() { postgres.Crash(second) })
		return feedertest.TableBackend{
			Relay: postgres.NewFeeder(db, c.Now), Worker: postgres.NewFeeder(second, c.Now), Store: postgres.NewGuarantee(db), Advance: c.advance,
			Crash: func() { postgres.Crash(db); s.last = nil },
		}
	})
}

// TestI18WhatAnEndedInstanceIsOfferedIsKept: a process whose session with the database was lost counts as ended until it has
// another one. What it is offered meanwhile is not free for it to take, and not done with either: it would lie there, handed out,
// until the relay looks for it.
func TestI18WhatAnEndedInstanceIsOfferedIsKept(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	worker := another(t, s)
	t.Cleanup(func() { postgres.Crash(worker) })
	guaranteetest.Accept(t, postgres.NewGuarantee(db), "cli_a", "x")
	f := postgres.NewFeeder(worker, time.Now)
	ids, err := postgres.NewFeeder(db, time.Now).Hand(within(t, time.Minute), 10)
	if err != nil {
		t.Fatal(err)
	}
	trial.Execute(t, s.Admin, "DELETE FROM aval.instances")
	if taken, rest, err := f.Take(t.Context(), ids, 10); err == nil || problem.KindOf(err) != problem.Unavailable {
		t.Errorf("an ended instance was offered %v and took %v, left %v, %v", ids, taken, rest, err)
	}
	cutOff(t, s, postgres.InstanceClass) // now they notice, and come back
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		taken, _, err := f.Take(t.Context(), ids, 10)
		if err == nil && slices.Equal(taken, ids) {
			return
		}
		if err == nil || time.Since(began) > time.Minute {
			t.Fatalf("back again it was offered %v and took %v, %v", ids, taken, err)
		}
	}
}

// TestI18WhatIsClaimedIsKnown: a claim whose wait ends while the server carries it out gives what it has taken. Given up it would leave
// rows behind that are this process's and that nobody works on.
func TestI18WhatIsClaimedIsKnown(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	f := postgres.NewFeeder(db, time.Now)
	for name, claim := range map[string]func(context.Context, message.ID) ([]message.ID, error){
		"claimed": func(ctx context.Context, _ message.ID) ([]message.ID, error) { return f.Claim(ctx, 1) },
		"taken": func(ctx context.Context, id message.ID) ([]message.ID, error) {
			taken, _, err := f.Take(ctx, []message.ID{id}, 1)
			return taken, err
		},
	} {
		id := guaranteetest.Accept(t, postgres.NewGuarantee(db), "cli_a", name).ID
		ctx, giveUp := context.WithCancel(t.Context())
		meanwhile := heldUp(t, s)
		go meanwhile(giveUp)
		if ids, err := claim(ctx, id); err != nil || !slices.Equal(ids, []message.ID{id}) {
			t.Errorf("%s: %v, %v; want %s", name, ids, err, id)
		}
	}
}

// heldUp holds up every claim. The function that it gives waits until one waits for that, does something, and lets it go on.
func heldUp(t *testing.T, s *storage) func(do func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN; SELECT FROM aval.instances FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return func(do func()) {
		for waiting := false; !waiting; {
			if err := conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))").Scan(&waiting); err != nil {
				t.Error(err)
				break
			}
		}
		do()
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

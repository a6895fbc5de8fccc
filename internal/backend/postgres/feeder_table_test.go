//go:build cluster

package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder/feedertest"
	"github.com/avalhq/aval/internal/action/feeder/handed"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
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
// another one. What it is offered meanwhile is not free for it to take, and not done with either: it would lie there, handed out, until the relay
// looks for it.
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

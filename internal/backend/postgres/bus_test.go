//go:build cluster

package postgres_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/bus/bustest"
)

func TestBus(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		s := newStorage(t)
		return bustest.Harness{Faults: s.faults, Join: func(t *testing.T) bustest.Process {
			db := another(t, s)
			t.Cleanup(func() { postgres.Crash(db) })
			return bustest.Process{Bus: postgres.NewBus(db), Crash: func() { postgres.Crash(db) }}
		}}
	})
}

// TestI16ALongPublicationHidesNothing: a publication with a lower number commits after one with a higher number, in the same
// partition. A reader that went by numbers alone would have passed it by.
func TestI16ALongPublicationHidesNothing(t *testing.T) {
	s := newStorage(t)
	b := postgres.NewBus(s.open(t))
	m, err := b.Join(t.Context(), "g", bus.Due)
	if err != nil {
		t.Fatal(err)
	}
	slow := session(t, s.URL)
	for _, statement := range []string{
		"BEGIN",
		`INSERT INTO bus_records (topic, partition, seq, key, value, at)
			SELECT 'due', n, (pg_current_xact_id()::text::bigint << 20), 'slow', '', 1 FROM generate_series(0, 15) AS n`,
	} {
		if _, err := slow.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish(t.Context(), []bus.Record{{Topic: bus.Due, Key: "fast"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Poll(within(t, time.Second), 10); err == nil {
		t.Fatalf("read %v while a publication with a lower number was open", got)
	}
	if _, err := slow.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	came := map[string]int{}
	for came["fast"] == 0 || came["slow"] < 16 {
		got, err := m.Poll(within(t, time.Minute), 10)
		if err != nil {
			t.Fatalf("%v came, then %v", came, err)
		}
		for _, r := range got {
			came[r.Key]++
		}
	}
}

// TestMembersShareEvenly: sixteen partitions among six members are three or two each, whoever came first.
func TestMembersShareEvenly(t *testing.T) {
	s := newStorage(t)
	b := postgres.NewBus(s.open(t))
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	for range 6 {
		m, err := b.Join(t.Context(), "g", bus.Due)
		if err != nil {
			t.Fatal(err)
		}
		reading.Go(func() { _, _ = m.Poll(ctx, 1) }) // there is nothing to read: it tends to the group until the end
	}
	admin := session(t, s.URL)
	var held []int
	for deadline := time.Now().Add(30 * time.Second); !slices.Equal(held, []int{2, 2, 3, 3, 3, 3}); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the members hold %v partitions", held)
		}
		rows, err := admin.Query(t.Context(), "SELECT count(*) FROM bus_offsets WHERE name = 'g' AND member <> 0 GROUP BY member ORDER BY 1")
		if err != nil {
			t.Fatal(err)
		}
		if held, err = pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheBusIsTrimmed: what every group has committed goes after a while, what one has not after a week.
func TestTheBusIsTrimmed(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	b := postgres.NewBus(db)
	var sent []bus.Record
	for _, key := range []string{"a", "b", "c", "d"} {
		sent = append(sent, bus.Record{Topic: bus.Due, Key: key})
	}
	if err := b.Publish(t.Context(), append(sent, bus.Record{Topic: bus.Events, Key: "nobody's"})); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"fast", "slow"} {
		m, err := b.Join(t.Context(), group, bus.Due)
		if err != nil {
			t.Fatal(err)
		}
		for seen := 0; seen < len(sent); {
			got, err := m.Poll(within(t, time.Minute), 10)
			if err != nil {
				t.Fatal(err)
			}
			seen += len(got)
			for _, r := range got {
				if group == "fast" || r.Key == "a" {
					if err := m.Commit(t.Context(), []bus.Record{r}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for _, step := range []struct {
		after time.Duration
		gone  int64
	}{{time.Minute, 0}, {time.Hour, 2}, {time.Hour, 0}, {8 * 24 * time.Hour, 3}} {
		if gone, err := postgres.TrimBus(t.Context(), db, now.Add(step.after)); err != nil || gone != step.gone {
			t.Errorf("after %s %d records were removed, %v; want %d", step.after, gone, err, step.gone)
		}
	}
}

func TestParked(t *testing.T) {
	bustest.RunParked(t, func(t *testing.T) bustest.ParkedHarness {
		s := newStorage(t)
		return bustest.ParkedHarness{Faults: s.faults, Open: func(t *testing.T) bus.Parked { return postgres.NewParked(s.open(t)) }}
	})
}

//go:build cluster

package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/leader/leadertest"
)

// TestElections: who has a seat is cut off by the server's ending its session.
func TestElections(t *testing.T) {
	leadertest.Run(t, func(t *testing.T) leadertest.Harness {
		s := newStorage(t)
		return leadertest.Harness{Join: func(t *testing.T) (leader.Elections, func()) {
			db := another(t, s)
			t.Cleanup(func() { postgres.Crash(db) })
			return postgres.NewElections(db), func() { cutOff(t, s, postgres.SeatClass) }
		}}
	})
}

// cutOff ends the sessions that hold advisory locks of a class.
func cutOff(t *testing.T, s *storage, class int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	tag, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE d.datname = current_database() AND locktype = 'advisory' AND granted AND classid = $1`, class)
	if err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("nobody was cut off: %v", err)
	}
}

// TestI10LookingForDeadHoldersLeavesTheLivingAlone: one process takes and gives back keys while it looks, again and again, for
// holders that have failed.
func TestI10LookingForDeadHoldersLeavesTheLivingAlone(t *testing.T) {
	s := newStorage(t)
	db := s.open(t)
	keys := postgres.NewKeys(db)
	if err := keys.Add(t.Context(), key.Key{ID: "key_a", Chain: "c", Address: "a"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		var err error
		for range 300 {
			var l key.Lease
			if l, err = keys.Lease(t.Context(), key.Request{Holder: db.Process() + "/sign", Key: "key_a", TTL: time.Hour}); err != nil {
				break
			}
			if err = keys.Release(t.Context(), l); err != nil {
				break
			}
		}
		done <- err
	}()
	for looks := 0; ; looks++ {
		if aside, err := keys.Quarantine(t.Context(), key.OfProcess(db.Process())); err != nil || len(aside) > 0 {
			t.Errorf("look %d set aside %+v, %v", looks, aside, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// TestI10NoLeaseIsGrantedToWhomOthersTakeForDead: the session that tells the others that a process lives is cut off. Until there is a
// new one the process leases nothing, for each of its leases would be set aside at once.
func TestI10NoLeaseIsGrantedToWhomOthersTakeForDead(t *testing.T) {
	s := newStorage(t)
	one := s.open(t)
	keys := postgres.NewKeys(one)
	if err := keys.Add(t.Context(), key.Key{ID: "key_a", Chain: "c", Address: "a"}); err != nil {
		t.Fatal(err)
	}
	cutOff(t, s, postgres.InstanceClass)
	two := another(t, s)
	defer postgres.Crash(two)
	l, err := keys.Lease(within(t, time.Minute), key.Request{Holder: one.Process() + "/sign", Key: "key_a", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if aside, err := postgres.NewKeys(two).Quarantine(t.Context(), key.OfProcess(two.Process())); err != nil || len(aside) > 0 {
		t.Errorf("the lease was set aside: %+v, %v", aside, err)
	}
	if err := keys.Release(t.Context(), l); err != nil {
		t.Error(err)
	}
}

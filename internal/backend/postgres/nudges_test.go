//go:build cluster

package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/message"
)

// TestAListenerComesBack: its connection is cut, and it hears again.
func TestAListenerComesBack(t *testing.T) {
	s := newStorage(t)
	f, listener := postgres.NewFeeder(s.open(t), time.Now), beside(s)(t)
	ctx, stop := context.WithCancel(t.Context())
	heard, ended, id := make(chan message.ID, 1000), make(chan struct{}), message.NewID()
	go func() {
		defer close(ended)
		listener.Listen(ctx, func(_ string, ids []message.ID) { heard <- ids[0] })
	}()
	for range 2 {
		for began, told := time.Now(), false; !told; {
			if err := f.Nudge(t.Context(), "sign", []message.ID{id}); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-heard:
				told = got == id // and not what was told before it was cut off
			case <-time.After(50 * time.Millisecond):
			}
			if time.Since(began) > 30*time.Second {
				t.Fatal("nothing is heard")
			}
		}
		trial.Execute(t, s.Admin, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
		id = message.NewID()
	}
	stop()
	<-ended
}

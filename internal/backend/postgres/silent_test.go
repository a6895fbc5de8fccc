//go:build cluster

package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/test/e2e/stage"
)

// TestASilentServerIsGivenUp: the connections are lost, and nothing ever says so. What waits for an answer without a deadline of its
// own is told that the database is silent, within seconds; what comes after finds new connections.
func TestASilentServerIsGivenUp(t *testing.T) {
	const soon = time.Minute
	at := server.Fresh(t)
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	way := stage.NewProxy(t, u.Host)
	u.Host = way.Address
	db, err := postgres.Open(t.Context(), u.String(), postgres.Options{Name: "test", Pool: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.Crash(db) })
	g, f, keys := postgres.NewGuarantee(db), postgres.NewFeeder(db, time.Now), postgres.NewKeys(db)
	calls := map[string]func() error{
		"issue": func() error {
			return g.Issue(context.Background(), []guarantee.Issued{{ID: message.NewID(), Client: "shop"}})
		},
		"load":   func() error { _, err := g.Load(context.Background(), []message.ID{message.NewID()}); return err },
		"settle": func() error { return f.Settle(context.Background(), []message.ID{message.NewID()}) },
		"accept": func() error {
			_, _, err := g.Accept(context.Background(), guarantee.Acceptance{Record: guarantee.Record{Verified: message.Verified{Message: message.Message{ID: message.NewID(), Client: "shop"}}}}, time.Now())
			return err
		},
		"keys": func() error { _, err := keys.List(context.Background()); return err },
	}
	all := func() map[string]error {
		type told struct {
			name string
			err  error
		}
		answers := make(chan told, len(calls))
		for name, call := range calls {
			go func() { answers <- told{name, call()} }()
		}
		got := map[string]error{}
		for range calls {
			select {
			case a := <-answers:
				got[a.name] = a.err
			case <-time.After(soon):
				t.Fatalf("after %v only these had an answer: %v", soon, got)
			}
		}
		return got
	}
	refusals := all() // each opens its connection; accept is refused, for its id was never issued
	mend, err := way.Cut(stage.Forgotten)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range all() {
		var p *problem.Error
		if !errors.As(err, &p) || p.Kind != problem.Unavailable {
			t.Errorf("%s over a dead connection: %v, want unavailable", name, err)
		}
	}
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	for name, err := range all() {
		if (err == nil) != (refusals[name] == nil) {
			t.Errorf("%s afterwards: %v, was %v before", name, err, refusals[name])
		}
	}
}

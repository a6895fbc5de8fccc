//go:build cluster

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/backend/etcd/trial"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// TestSecured is about an etcd with TLS and users, whose logins last two seconds.
func TestSecured(t *testing.T) {
	server := trial.NewSecured(t, 2)
	server.Papers.Issue(t, "machine") // of no user
	server.Papers.Issue(t, "worker")
	server.Know(t, "aval", "secret", "/aval/")
	server.Know(t, "worker", "another", "/worker/")
	login := etcd.Options{
		Endpoints: []string{server.URL(t)}, TLS: server.Papers.TLS(t, "ca.pem", "machine"), User: "aval", Password: "secret", Name: "test", Faults: fault.New(),
	}
	login.Prefix = "/aval/"
	t.Run("suite", func(t *testing.T) { // with certificates alone: a login by a password is slow on purpose
		n := 0
		keytest.Run(t, func(t testing.TB) keytest.Harness {
			n++
			s := &storage{options: login}
			s.options.TLS, s.options.User, s.options.Password = server.Papers.TLS(t, "ca.pem", "worker"), "", ""
			s.options.Prefix = fmt.Sprintf("/worker/%d/", n) // of the case's own
			t.Cleanup(func() { s.end(t) })
			return keytest.Harness{Faults: login.Faults, Open: func(t testing.TB) key.Registry { return s.open(t) }}
		})
	})
	t.Run("refusals", func(t *testing.T) {
		for name, c := range map[string]struct {
			code  string
			words string
			alter func(*etcd.Options)
		}{
			"a wrong password":    {"etcd-refused", "etcd.password", func(o *etcd.Options) { o.Password = "guess" }},
			"an unknown user":     {"etcd-refused", "etcd.user", func(o *etcd.Options) { o.User = "stranger" }},
			"no user":             {"etcd-refused", "etcd.user", func(o *etcd.Options) { o.User, o.Password = "", "" }},
			"a prefix of another": {"etcd-refused", "/worker/", func(o *etcd.Options) { o.Prefix = "/worker/" }},
			"no certificate":      {"etcd-certificate-refused", "etcd.tls", func(o *etcd.Options) { o.TLS = server.Papers.TLS(t, "ca.pem", "") }},
			"another authority":   {"etcd-certificate-refused", "etcd.tls", func(o *etcd.Options) { o.TLS = server.Papers.TLS(t, "stranger.pem", "machine") }},
			"no TLS":              {"etcd-unreachable", "endpoints", func(o *etcd.Options) { o.Endpoints = []string{strings.Replace(server.URL(t), "https", "http", 1)} }},
		} {
			o := login
			c.alter(&o)
			k, err := etcd.Open(t.Context(), o)
			if err == nil {
				_ = k.Close()
				t.Errorf("%s: it started", name)
				continue
			}
			if p := problem.From(err); p.Code != c.code || p.Kind != problem.Invalid || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: %s, %s: %v; want %s", name, p.Kind, p.Code, err, c.code)
			}
		}
	})
	t.Run("a long session", func(t *testing.T) { longSession(t, server, login) })
}

// longSession leases while logins expire, users come and go, the password changes and changes back, and etcd is restarted, which
// forgets all logins. Who waits for a key is woken through all of it, and no key is ever set aside.
func longSession(t *testing.T, server *trial.Secured, options etcd.Options) {
	options.Prefix = "/aval/long/"
	options.Session = 10 * time.Second // longer than a restart takes on a busy machine
	s := &storage{options: options}
	one, other := s.beside(t), s.beside(t)
	defer ended(t, one)
	defer ended(t, other)
	id := addKeys(t, one, 1)[0]
	if err := one.Reconcile(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for round, disturb := range []func() error{
		func() error { time.Sleep(5 * time.Second); return nil }, // both logins end
		func() error { server.Know(t, "newcomer", "third", "/third/"); return nil },
		func() error { // refused until the password is the former one again
			_, err := server.Root.UserChangePassword(ctx, "aval", "changed")
			if err == nil {
				if _, asked := one.Get(ctx, id); problem.From(asked).Code != "etcd-refused" || problem.KindOf(asked) != problem.Unavailable {
					t.Errorf("with another password: %v", asked)
				}
				_, err = server.Root.UserChangePassword(ctx, "aval", "secret")
			}
			return err
		},
		func() error {
			if err := server.Act("kill"); err != nil {
				return err
			}
			return server.Act("start")
		},
		func() error { time.Sleep(5 * time.Second); return nil },
	} {
		held, err := one.Lease(ctx, key.Request{Holder: one.Process() + "/a", Key: id, TTL: time.Hour})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		waiting := make(chan error, 1)
		go func() {
			l, err := other.Lease(ctx, key.Request{Holder: other.Process() + "/b", Key: id, TTL: time.Hour})
			if err == nil {
				err = other.Release(ctx, l)
			}
			waiting <- err
		}()
		if err := disturb(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for { // whether a release that failed has happened is not known: again it does no harm (I9)
			err := one.Release(ctx, held)
			if err == nil || errors.Is(err, key.ErrStale) {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if err := <-waiting; err != nil {
			t.Fatalf("round %d: who waits: %v", round, err)
		}
	}
	if k, err := one.Get(ctx, id); err != nil || k.Status != key.Free {
		t.Errorf("in the end %+v, %v", k, err)
	}
}

//go:build cluster

package kafka_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/internal/backend/kafka/trial"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/bus/bustest"
	"github.com/avalhq/aval/internal/fault"
)

// TestSecured is about a broker with TLS, logins and rights: what the documents ask for is enough, and what is missing is told.
func TestSecured(t *testing.T) {
	broker := trial.NewSecured(t, "aval", "maker", "reader", "blind", "nobody")
	inner := trial.Server{Given: broker.Inner(t)}
	broker.Allow(t, "maker", "test-", "CREATE", "ALTER", "DESCRIBE_CONFIGS")
	broker.Allow(t, "aval", "test-", "READ", "WRITE", "DESCRIBE_CONFIGS")
	broker.Allow(t, "reader", "test-", "READ", "DESCRIBE_CONFIGS")
	broker.Allow(t, "blind", "test-", "READ", "WRITE") // could not see that a topic forgets records
	options := func(t *testing.T) kafka.Options {
		o := inner.Empty(t)
		o.Brokers, o.TLS = []string{broker.URL(t)}, broker.Papers.TLS(t, "ca.pem", "")
		o.Login = kafka.Login{Mechanism: "scram-sha-512", User: "maker", Password: broker.Password}
		if _, err := kafka.Init(t.Context(), o, false); err != nil {
			t.Fatal(err)
		}
		o.Login.User = "aval"
		return o
	}
	t.Run("suite", func(t *testing.T) {
		bustest.Run(t, func(t *testing.T) bustest.Harness {
			o := options(t)
			o.Faults, o.Session = fault.New(), 2*time.Second
			return bustest.Harness{Faults: o.Faults, Join: func(t *testing.T) bustest.Process { return join(t, o) }}
		})
	})
	t.Run("logins", func(t *testing.T) {
		o := options(t)
		for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
			o.Login.Mechanism = mechanism
			open(t, o)
		}
		wrong := o
		wrong.Login.Password = "guess"
		for _, wrong.Login.Mechanism = range []string{"plain", "scram-sha-256", "scram-sha-512"} {
			refused(t, wrong, "kafka-refused", "kafka.password")
		}
		wrong = o
		wrong.Login = kafka.Login{}
		refused(t, wrong, "kafka-failed", "kafka.mechanism")
	})
	t.Run("certificates", func(t *testing.T) {
		o := options(t)
		o.TLS = broker.Papers.TLS(t, "stranger.pem", "")
		refused(t, o, "kafka-failed", "kafka.tls", "certificate")
		o.TLS = nil
		refused(t, o, "kafka-failed", "kafka.secure")
	})
	t.Run("rights", func(t *testing.T) {
		o := options(t)
		for _, user := range []string{"reader", "blind", "nobody", "maker"} {
			o.Login.User = user
			refused(t, o, "kafka-forbidden", o.Prefix)
		}
		o = inner.Empty(t)
		o.Brokers, o.TLS = []string{broker.URL(t)}, broker.Papers.TLS(t, "ca.pem", "")
		o.Login = kafka.Login{Mechanism: "plain", User: "aval", Password: broker.Password}
		_, err := kafka.Init(t.Context(), o, false)
		says(t, err, "topic-refused", "right to make topics")
	})
	t.Run("a login lasts", func(t *testing.T) { // it has to be made again every three seconds
		b := open(t, options(t))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m, err := b.Join(ctx, "g", bus.Due)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		for began := time.Now(); time.Since(began) < 8*time.Second; {
			if err := b.Publish(ctx, numbered(50)); err != nil {
				t.Fatal(err)
			}
			for came := 0; came < 50; {
				got, err := m.Poll(ctx, 50)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Commit(ctx, got); err != nil {
					t.Fatal(err)
				}
				came += len(got)
			}
		}
	})
}

func numbered(n int) []bus.Record {
	records := make([]bus.Record, n)
	for i := range records {
		records[i] = bus.Record{Topic: bus.Due, Key: "k"}
	}
	return records
}

// secure wraps a line of a process in TLS.
func secure(ctx context.Context, conn net.Conn, host string, c *tls.Config) (net.Conn, error) {
	c = c.Clone()
	c.ServerName, _, _ = net.SplitHostPort(host)
	secured := tls.Client(conn, c)
	return secured, secured.HandshakeContext(ctx)
}

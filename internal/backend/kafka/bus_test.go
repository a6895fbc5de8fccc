//go:build cluster

package kafka_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/internal/backend/kafka/trial"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/bus/bustest"
	"github.com/avalhq/aval/internal/fault"
)

var server = trial.Server{Given: os.Getenv(trial.Variable)}

func TestBus(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		options := server.Fresh(t, 4)
		options.Faults, options.Session = fault.New(), 6*time.Second // a member that a busy machine holds up is not taken for dead
		return bustest.Harness{Faults: options.Faults, Join: func(t *testing.T) bustest.Process { return join(t, options) }}
	})
}

// join opens the bus as one more process, whose lines to the broker can be cut.
func join(t *testing.T, options kafka.Options) bustest.Process {
	t.Helper()
	lines := &lines{tls: options.TLS}
	options.Dial = lines.dial
	return bustest.Process{Bus: open(t, options), Crash: lines.cut}
}

// TestAMemberThatComesBackTakesNothingBack: one that was cut off for longer than its session commits what it had in hand, when another
// member has done that and more, and the partition is its own again.
func TestAMemberThatComesBackTakesNothingBack(t *testing.T) {
	options := server.Fresh(t, 1)
	options.Session = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	b, lines := open(t, options), &lines{}
	publish(ctx, t, b, "first")
	publish(ctx, t, b, "second")
	options.Dial = lines.dial
	absent := member(ctx, t, open(t, options))
	had := until(ctx, t, absent, "second")
	lines.cut()
	heir := member(ctx, t, b)
	if err := heir.Commit(ctx, until(ctx, t, heir, "second")); err != nil {
		t.Fatal(err)
	}
	if err := heir.Close(); err != nil {
		t.Fatal(err)
	}
	publish(ctx, t, b, "third")
	lines.mend()
	until(ctx, t, absent, "third")
	if err := absent.Commit(ctx, had[:1]); err != nil {
		t.Fatal(err)
	}
	list, err := b.Backlogs(ctx)
	if err != nil || len(list) != 1 || list[0].Records != 1 {
		t.Errorf("behind is %+v, %v; want the third record alone", list, err)
	}
}

func member(ctx context.Context, t *testing.T, b *kafka.Bus) bus.Member {
	t.Helper()
	m, err := b.Join(ctx, "g", bus.Due)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // closed already
	return m
}

// until polls, past errors, until the record with this key has come, and gives all that came.
func until(ctx context.Context, t *testing.T, m bus.Member, key string) (all []bus.Record) {
	t.Helper()
	for {
		got, err := m.Poll(ctx, 10)
		if err != nil && ctx.Err() != nil {
			t.Fatalf("%q did not come: %v", key, err)
		}
		for _, r := range got {
			if all = append(all, r); r.Key == key {
				return all
			}
		}
	}
}

// lines are a process's connections.
type lines struct {
	mu   sync.Mutex
	dead bool
	tls  *tls.Config // nil: none
	open []net.Conn
}

func (l *lines) dial(ctx context.Context, network, host string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrClosed}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, host)
	if err == nil {
		l.open = append(l.open, conn)
	}
	if err == nil && l.tls != nil {
		return secure(ctx, conn, host, l.tls)
	}
	return conn, err
}

// mend lets the process reach the broker again.
func (l *lines) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = false
}

// cut ends the process as far as the broker can tell.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, conn := range l.open {
		_ = conn.Close()
	}
}

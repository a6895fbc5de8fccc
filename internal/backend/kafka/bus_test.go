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
	"github.com/avalhq/aval/internal/bus/bustest"
	"github.com/avalhq/aval/internal/fault"
)

var server = trial.Server{Given: os.Getenv(trial.Variable)}

func TestBus(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		options := server.Fresh(t)
		options.Faults, options.Session = fault.New(), 6*time.Second // a member that a busy machine holds up is not taken for dead
		return bustest.Harness{Faults: options.Faults, Join: func(t *testing.T) bustest.Process { return join(t, options) }}
	})
}

// join opens the bus as one more process, whose lines to the broker can be cut.
func join(t *testing.T, options kafka.Options) bustest.Process {
	t.Helper()
	lines := &lines{tls: options.TLS}
	options.Dial = lines.dial
	b, err := kafka.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return bustest.Process{Bus: b, Crash: lines.cut}
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

// cut ends the process as far as the broker can tell.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, conn := range l.open {
		_ = conn.Close()
	}
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/remote"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/telemetry"
	"github.com/avalhq/aval/internal/telemetry/health"
)

// draining is how long a key-manager that stops waits for the leases that are held.
const draining = 5 * time.Second

// keyManager is a process with that role alone: the registry of keys, gRPC for the workers, and HTTP for health and metrics.
type keyManager struct {
	metrics  *telemetry.Metrics
	storage  storage
	server   *remote.Server
	grpc     *grpc.Server
	listener net.Listener // of the workers
	http     net.Listener
	closers
}

// openKeyManager builds it. What can be refused is refused here.
func openKeyManager(ctx context.Context, c config.Config, o options) (m *keyManager, err error) {
	m = &keyManager{metrics: telemetry.NewMetrics()}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	var secured *tls.Config
	if !c.KeyManager.Plaintext {
		if secured, err = certificates("key_manager.tls", c.KeyManager.TLS); err != nil {
			return m, err
		}
	}
	if m.http, err = m.listen("api.listen", c.API.Listen); err != nil {
		return m, err
	}
	if m.listener, err = m.listen("key_manager.listen", c.KeyManager.Listen); err != nil {
		return m, err
	}
	c.KeyManager.Address = "" // it leases keys itself
	if m.storage, err = openStorage(ctx, c, o.faults); err != nil {
		return m, err
	}
	m.closing(m.storage.close)
	m.server = remote.NewServer(m.storage.keys, m.metrics.KeyManager(), o.log)
	m.grpc = m.server.Transport(secured)
	return m, nil
}

// Run serves until ctx ends. Then it says that it is not ready, leases nothing more, and waits for what is held.
func (m *keyManager) Run(ctx context.Context) error {
	var group lifecycle.Group
	group.Add("storage", m.storage.watch)
	group.Add("gauges", func(ctx context.Context) error { return telemetry.Every(ctx, 5*time.Second, m.gauge) })
	group.Add("http", func(running context.Context) error { return m.serveHTTP(running, ctx) })
	group.Add("key-manager", m.serve)
	return group.Run(ctx)
}

func (m *keyManager) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- m.grpc.Serve(m.listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), draining)
	defer cancel()
	m.server.Drain(bounded)
	m.server.Stop()
	m.grpc.Stop()
	return <-failed
}

// serveHTTP answers for health and metrics until running ends; it is ready until serving does.
func (m *keyManager) serveHTTP(running, serving context.Context) error {
	checks := health.New(time.Second, 5*time.Second)
	checks.Ready("serving", func(context.Context) error { return serving.Err() })
	checks.Ready("storage", func(ctx context.Context) error {
		_, err := m.storage.feeder.Depth(ctx)
		return err
	})
	for name, check := range m.storage.ready {
		checks.Ready(name, check)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", health.Handler(checks.Liveness))
	mux.Handle("GET /readyz", health.Handler(checks.Readiness))
	mux.Handle("GET /metrics", m.metrics.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(m.http) }()
	select {
	case err := <-failed:
		return err
	case <-running.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(running), draining)
	defer cancel()
	return server.Shutdown(bounded)
}

func (m *keyManager) gauge(ctx context.Context) {
	all, err := m.storage.keys.List(ctx)
	if err != nil {
		return // readiness tells
	}
	count := map[key.Status]int{}
	for _, k := range all {
		count[k.Status]++
	}
	m.metrics.Keys(count)
}

// serveKeyManager is aval serve --role key-manager.
func serveKeyManager(ctx context.Context, c config.Config, o options, s *screen) (err error) {
	m, err := openKeyManager(ctx, c, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	address, url := m.listener.Addr().String(), "http://"+m.http.Addr().String()
	if s.json {
		s.encode(s.out, map[string]string{"event": "ready", "url": url, "key_manager": address})
	} else {
		s.say("Leasing keys at %s; health and metrics at %s. Ctrl-C stops it.", address, url)
	}
	told := context.AfterFunc(ctx, func() { s.note("Stopping; Ctrl-C again ends it at once.") })
	defer told()
	return m.Run(ctx)
}

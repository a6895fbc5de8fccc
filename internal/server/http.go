package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/telemetry"
)

// Headers that every answer has. The API serves no page: nothing in an answer may be run, framed or kept.
var (
	nosniff   = []string{"nosniff"}
	noStore   = []string{"no-store"}
	policy    = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferer = []string{"no-referrer"}
)

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write notes that the status was 200 when none was written before.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	h := w.Header()
	h["X-Content-Type-Options"], h["Cache-Control"], h["Content-Security-Policy"], h["Referrer-Policy"] = nosniff, noStore, policy, noReferer
	rec := &recorder{ResponseWriter: w}
	defer s.finish(rec, r, began)
	s.mux.ServeHTTP(rec, r)
}

// finish logs a request and turns a panic into a problem. It is deferred.
func (s *Server) finish(rec *recorder, r *http.Request, began time.Time) {
	if trouble := recover(); trouble != nil {
		if trouble == http.ErrAbortHandler { //nolint:errorlint // a panic's value, which net/http compares so too
			panic(trouble)
		}
		s.log.LogAttrs(r.Context(), slog.LevelError, "request panicked", slog.Any("panic", trouble), slog.String("stack", string(debug.Stack())))
		if rec.status == 0 {
			s.refuse(r.Context(), rec, errors.New("the request panicked"))
		}
	}
	method, route, found := strings.Cut(r.Pattern, " ")
	if !found {
		method, route = "other", "none" // what was asked for is the caller's invention: no label for a metric
	}
	took := time.Since(began)
	if s.config.Observe != nil {
		s.config.Observe(method, route, rec.status, took)
	}
	level := slog.LevelDebug
	if rec.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if ctx := r.Context(); s.log.Enabled(ctx, level) {
		if id, err := message.ParseID(r.PathValue("id")); err == nil {
			ctx = telemetry.WithMessage(ctx, id)
		}
		s.log.LogAttrs(ctx, level, "request", slog.String("method", method), slog.String("route", route), slog.Int("status", rec.status), slog.Duration("took", took))
	}
}

// plain registers what is not part of the API proper.
func (s *Server) plain() {
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(s.document) // the caller has gone: nobody is left to tell
	})
	if s.Issuer != nil {
		s.mux.Handle("/.well-known/openid-configuration", s.Issuer)
		s.mux.Handle("/oauth/", s.Issuer)
	}
}

// probes registers what is asked of every process.
func (s *Server) probes() {
	s.mux.Handle("GET /healthz", orYes(s.Alive))
	s.mux.HandleFunc("GET /readyz", s.ready)
	if s.Metrics != nil {
		s.mux.Handle("GET /metrics", s.Metrics)
	}
	s.mux.HandleFunc("/", s.miss)
}

// ready says no from the moment that the server begins to stop, so that no more work is sent its way.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Err() != nil {
		s.refuse(r.Context(), w, problem.New(problem.Unavailable, "stopping", "this process is stopping; ask another one"))
		return
	}
	orYes(s.Services.Ready).ServeHTTP(w, r)
}

func orYes(h http.Handler) http.Handler {
	if h != nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // the prober has gone when this fails
	})
}

// miss answers what no route matches.
func (s *Server) miss(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost} {
		if _, pattern := s.mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "" && pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		s.refuse(r.Context(), w, problem.New(problem.NotFound, "route-unknown", "there is nothing at this address; GET /openapi.json lists what there is"))
		return
	}
	p := s.problem(r.Context(), problem.New(problem.Invalid, "method-not-allowed", "this address answers to %s", strings.Join(allowed, ", ")))
	p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.refuse(r.Context(), w, p)
}

// Serve answers on the listener until ctx ends; then streams are ended and requests under way get the Timeout to finish.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: s.config.Timeout, WriteTimeout: s.config.Timeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(listener) }()
	select {
	case err := <-failed:
		s.stop()
		return fmt.Errorf("serve the API on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.stop()
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Timeout)
	defer cancel()
	if err := h.Shutdown(rest); err != nil {
		return errors.Join(fmt.Errorf("requests were still under way after %s: %w", s.config.Timeout, err), h.Close())
	}
	return nil
}

// Stop ends the streams, for servers that are not run by Serve.
func (s *Server) Stop() { s.stop() }

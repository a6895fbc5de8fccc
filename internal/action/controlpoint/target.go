package controlpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/ratelimiter"

	"github.com/avalhq/aval/internal/problem"
)

// What a target has where its file does not say.
const (
	defaultTimeout     = 10 * time.Second
	defaultMaxResponse = 256 << 10
	defaultParallel    = 16
	defaultFailures    = 5
	defaultPause       = 30 * time.Second
	defaultKeyHeader   = "Idempotency-Key"

	maxTimeout = 50 * time.Second // a run of an action has a minute
)

// target is one system that can be asked.
type target struct {
	name       string
	base       string // URL without a slash at its end
	host       string // for people
	headers    map[string]*template
	auth       *authFile
	timeout    time.Duration
	limit      int64 // bytes of an answer
	idempotent bool
	keyHeader  string
	parallel   int

	client  *http.Client
	secret  func(ref string) (string, error)
	breaker circuitbreaker.CircuitBreaker[any]
	slots   bulkhead.Bulkhead[any]
	rate    ratelimiter.RateLimiter[any] // nil: no limit
}

// target makes a target of what its file says, and gathers what is wrong with it.
func (l *loader) target(name string, f targetFile) *target {
	path := "targets." + name
	t := &target{
		name: name, base: strings.TrimSuffix(f.URL, "/"), auth: f.Auth, idempotent: f.Idempotent, secret: l.options.Secret,
		timeout: either(f.Timeout, defaultTimeout), limit: int64(either(f.MaxResponse, defaultMaxResponse)),
		keyHeader: either(f.KeyHeader, defaultKeyHeader), parallel: either(f.Parallel, defaultParallel),
	}
	l.number(path+".max_response", f.MaxResponse, 4<<20)
	l.number(path+".parallel", f.Parallel, 1024)
	if f.Timeout > maxTimeout {
		l.wrong(path+".timeout", "is %s, and may be %s at most: what takes longer answers at once and is asked for later (response.pending)", f.Timeout, maxTimeout)
	}
	l.url(path+".url", f.URL, t)
	l.auth(path+".auth", f.Auth)
	t.headers = l.request.headers(f.Headers, path+".headers")
	if !headerName(t.keyHeader) {
		l.wrong(path+".key_header", "is no name of a header that can be sent")
	}
	b := either(f.Breaker, &breakerFile{})
	l.number(path+".breaker.failures", b.Failures, 1000)
	t.breaker = circuitbreaker.NewBuilder[any]().WithFailureThreshold(uint(either(b.Failures, defaultFailures))).
		WithDelay(either(b.Pause, defaultPause)).WithSuccessThreshold(1).
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) { l.options.breaker(l.file.Name, name, e.NewState.String()) }).Build()
	if l.options.Observe.Breaker != nil {
		l.options.Observe.Breaker(l.file.Name, name, t.breaker.State().String())
	}
	t.slots = bulkhead.New[any](uint(max(t.parallel, 1)))
	if f.Rate != nil {
		l.number(path+".rate.calls", f.Rate.Calls, 1_000_000)
		t.rate = ratelimiter.NewBursty[any](uint(max(f.Rate.Calls, 1)), either(f.Rate.Per, time.Second))
	}
	t.client = l.client(path+".tls", f.TLS, t.parallel)
	return t
}

// either is the first, or the second where the first is nothing.
func either[T comparable](given, otherwise T) T {
	var nothing T
	if given == nothing {
		return otherwise
	}
	return given
}

// number refuses what is there and not from 1 to most.
func (l *loader) number(path string, n, most int) {
	if l.places[path] != nil && (n < 1 || n > most) {
		l.wrong(path, "must be a whole number from 1 to %d", most)
	}
}

func (l *loader) url(path, text string, t *target) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		l.wrong(path, "must be a URL that begins with https://")
		return
	case u.User != nil:
		l.wrong(path, "must hold no user and no password; say with auth where the secret is")
	case u.RawQuery != "" || u.Fragment != "":
		l.wrong(path, "must end before ? and #; write a query under request.query")
	case u.Scheme == "http" && !l.options.Look && !l.options.Allowed.plain(u.Hostname()):
		l.wrong(path, "is not https: without TLS only hosts are spoken to that control_points.allow lists")
	}
	t.host = u.Host
}

func (l *loader) auth(path string, f *authFile) {
	if f == nil {
		return
	}
	ways := 0
	check := func(given bool, at, ref string) {
		if !given {
			return
		}
		ways++
		kind, where, _ := strings.Cut(ref, ":")
		switch {
		case kind != "file" && kind != "env" || where == "":
			l.wrong(at, "does not say where the secret is: write file:PATH or env:NAME, never the secret itself")
		case l.options.Secret != nil && l.options.Verify:
			if _, err := l.options.Secret(ref); err != nil {
				l.wrong(at, "names a secret that cannot be read: %v", err)
			}
		}
	}
	check(f.Bearer != "", path+".bearer", f.Bearer)
	if f.Basic != nil {
		check(true, path+".basic.password", f.Basic.Password)
		if f.Basic.User == "" || strings.Contains(f.Basic.User, ":") {
			l.wrong(path+".basic.user", "must be a name without a colon")
		}
	}
	if f.Header != nil {
		check(true, path+".header.value", f.Header.Value)
		if !headerName(f.Header.Name) && !strings.EqualFold(f.Header.Name, "Authorization") {
			l.wrong(path+".header.name", "is no name of a header that can be sent")
		}
	}
	if ways != 1 {
		l.wrong(path, "needs one of bearer, basic and header")
	}
}

// client makes the HTTP client of a target. It follows no redirect, knows no proxy, and connects as Allowed says (A27).
func (l *loader) client(path string, f *tlsFile, parallel int) *http.Client {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f != nil && !l.options.Look {
		conf.ServerName = f.ServerName
		l.trust(path, f, conf)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: l.options.Allowed.dial, TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableCompression: true,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: parallel, IdleConnTimeout: 60 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (l *loader) trust(path string, f *tlsFile, conf *tls.Config) {
	if f.CA != "" {
		raw, err := os.ReadFile(f.CA)
		conf.RootCAs = x509.NewCertPool()
		if err == nil && !conf.RootCAs.AppendCertsFromPEM(raw) {
			err = errors.New("it holds no certificate in PEM")
		}
		if err != nil {
			l.wrong(path+".ca", "cannot be used: %v", err)
		}
	}
	if f.Certificate == "" && f.Key == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		l.wrong(path, "has a certificate and key that cannot be used: %v", err)
	}
	conf.Certificates = []tls.Certificate{pair}
}

// authorize adds the secret to a request; it gives what must not come back in an answer.
func (t *target) authorize(r *http.Request) (secret string, err error) {
	if t.auth == nil {
		return "", nil
	}
	ref := t.auth.Bearer
	switch {
	case t.auth.Basic != nil:
		ref = t.auth.Basic.Password
	case t.auth.Header != nil:
		ref = t.auth.Header.Value
	}
	if secret, err = t.secret(ref); err != nil {
		return "", problem.New(problem.Unavailable, "control-point-secret-missing", "the secret for %s cannot be read: %w", t.name, err)
	}
	switch {
	case t.auth.Basic != nil:
		r.SetBasicAuth(t.auth.Basic.User, secret)
	case t.auth.Header != nil:
		r.Header.Set(t.auth.Header.Name, secret)
	default:
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	return secret, nil
}

// enter takes a place among the requests to the target, or says why there is none. Whoever is in has to leave.
func (t *target) enter(ctx context.Context) (leave func(failed bool), err error) {
	if t.rate != nil && !errors.Is(ctx.Err(), context.Canceled) && t.rate.AcquirePermitWithMaxWait(ctx, t.timeout) != nil {
		return nil, problem.New(problem.TooMany, "control-point-busy", "%s was asked as often as its rate allows; it is tried again later", t.name)
	}
	if err := t.slots.AcquirePermitWithMaxWait(ctx, t.timeout); err != nil {
		return nil, problem.New(problem.TooMany, "control-point-busy", "%d requests to %s are under way already; it is tried again later", t.parallel, t.name)
	}
	if !t.breaker.TryAcquirePermit() {
		t.slots.ReleasePermit()
		return nil, problem.New(problem.Unavailable, "control-point-open", "%s has failed too often and is left alone for now; it is asked again in %s", t.name, t.breaker.RemainingDelay().Round(time.Second))
	}
	return func(failed bool) {
		if failed {
			t.breaker.RecordFailure()
		} else {
			t.breaker.RecordSuccess()
		}
		t.slots.ReleasePermit()
	}, nil
}

package auth

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/avalhq/aval/internal/problem"
)

// pause is the least time between two looks at an issuer for keys: a flood of tokens with made-up key ids must not become
// a flood of requests to it.
const pause = 10 * time.Second

// Discovered are the keys of an issuer, found through its discovery document at the first token and looked up again when
// a token names a key that is not known.
type Discovered struct {
	issuer string
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	keys  *oidc.RemoteKeySet
	tried time.Time
	err   error
}

// Discover does not contact the issuer yet, so that Aval starts while it is down.
func Discover(issuer string, client *http.Client) *Discovered {
	throttled := &throttle{next: client.Transport, now: time.Now, last: map[string]attempt{}}
	if throttled.next == nil {
		throttled.next = http.DefaultTransport
	}
	return &Discovered{issuer: issuer, client: &http.Client{Transport: throttled, Timeout: 10 * time.Second}, now: time.Now}
}

// VerifySignature implements oidc.KeySet.
func (d *Discovered) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	keys, err := d.remote(ctx)
	if err != nil {
		return nil, err
	}
	return keys.VerifySignature(oidc.ClientContext(ctx, d.client), token)
}

func (d *Discovered) remote(ctx context.Context) (*oidc.RemoteKeySet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys != nil {
		return d.keys, nil
	}
	if d.err != nil && d.now().Sub(d.tried) < pause {
		return nil, d.err
	}
	d.tried = d.now()
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), d.client)
	provider, err := oidc.NewProvider(ctx, d.issuer)
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err == nil {
		err = provider.Claims(&found)
	}
	if err != nil {
		d.err = problem.New(problem.Unavailable, "issuer-unreachable", "the token issuer %s does not answer as an OIDC issuer, so tokens cannot be checked; try again later: %w", d.issuer, err)
		return nil, d.err
	}
	d.keys, d.err = oidc.NewRemoteKeySet(ctx, found.Keys), nil
	return d.keys, nil
}

// throttle asks the same address again only after a pause, and tells an issuer that is down from a key that is not there.
type throttle struct {
	next http.RoundTripper
	now  func() time.Time
	mu   sync.Mutex
	last map[string]attempt
}

type attempt struct {
	at  time.Time
	err error
}

// RoundTrip implements http.RoundTripper.
func (t *throttle) RoundTrip(r *http.Request) (*http.Response, error) {
	address := r.URL.String()
	if err := t.begin(address); err != nil {
		return nil, err
	}
	response, err := t.next.RoundTrip(r)
	if err == nil && response.StatusCode >= http.StatusInternalServerError {
		_ = response.Body.Close() // nothing in it is read
		err = fmt.Errorf("it answered %s", response.Status)
	}
	if err != nil {
		err = problem.New(problem.Unavailable, "issuer-unreachable", "the token issuer does not answer at %s, so tokens cannot be checked; try again later: %w", address, err)
		t.mu.Lock()
		t.last[address] = attempt{t.now(), err}
		t.mu.Unlock()
		return nil, err
	}
	return response, nil
}

func (t *throttle) begin(address string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, tried := t.last[address]
	if tried && t.now().Sub(last.at) < pause {
		if last.err != nil {
			return last.err
		}
		return problem.New(problem.Unauthenticated, "token-key-unknown", "the issuer's keys were read less than %s ago, and the one that signed the token is not among them", pause)
	}
	t.last[address] = attempt{at: t.now()}
	return nil
}

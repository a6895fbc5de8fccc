// Package client is Aval's Go SDK.
//
// A Client speaks to one installation. Sending an instruction takes three calls, which Send does at once: IssueIDs gets a
// message id, Types.Sign signs a message that holds it with a key that never leaves the caller, Submit hands the signed
// bytes over. Submitting the same bytes again is harmless, so Submit is repeated when the outcome is unknown. Watch
// follows a message live and comes back by itself when the connection breaks.
//
// Refusals are *Problem, to be compared by Code. A Client is safe for concurrent use and keeps its connections; one for the
// whole program is enough.
package client

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Client is a connection to an installation of Aval. Make it with New.
type Client struct {
	base     string
	http     *http.Client
	tokens   TokenSource
	types    func() (*Types, error) // made when something is signed for the first time
	attempts int
	pause    time.Duration
	patience time.Duration
}

// Option changes what New makes.
type Option func(*Client)

// WithToken sends one bearer token, as long as it lasts.
func WithToken(token string) Option { return WithTokens(Static(token)) }

// WithTokens takes bearer tokens from a source.
func WithTokens(source TokenSource) Option { return func(c *Client) { c.tokens = source } }

// WithCredentials gets tokens from the installation's own development issuer. For another issuer use WithTokens and
// Credentials.
func WithCredentials(id, secret string) Option {
	return func(c *Client) {
		c.tokens = &Credentials{URL: c.base + "/oauth/token", ID: id, Secret: secret, HTTP: c.http}
	}
}

// WithHTTP replaces the HTTP client. Its Timeout should be zero, for streams last.
func WithHTTP(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithTypes replaces the message types that ship with Aval.
func WithTypes(t *Types) Option {
	return func(c *Client) { c.types = func() (*Types, error) { return t, nil } }
}

// WithAttempts says how often a call that may be repeated is tried; 5 unless said otherwise.
func WithAttempts(n int) Option { return func(c *Client) { c.attempts = max(n, 1) } }

// WithPatience says how long a stream may be silent before its connection is taken for broken and made again; 45 seconds
// unless said otherwise. Aval shows a sign of life every 15.
func WithPatience(d time.Duration) Option { return func(c *Client) { c.patience = d } }

// New makes a Client; nothing is sent yet.
func New(baseURL string, options ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the address of Aval has to be a URL such as http://127.0.0.1:8080, not %q", baseURL)
	}
	c := &Client{base: strings.TrimSuffix(baseURL, "/"), http: &http.Client{Transport: transport()}, attempts: 5, pause: 50 * time.Millisecond, patience: 45 * time.Second, types: sync.OnceValues(ShippedTypes)}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

// transport keeps enough connections for a caller with many requests in flight.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 512, 512
	t.DisableCompression = true
	return t
}

package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// call is one request to the API.
type call struct {
	method, path string
	body         []byte // sent as JSON when not nil
	repeatable   bool   // harmless when carried out twice
}

// get fetches into out.
func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, repeatable: true}, out)
}

// post sends in, nil for no body.
func (c *Client) post(ctx context.Context, path string, in, out any, repeatable bool) error {
	k := call{method: http.MethodPost, path: path, repeatable: repeatable}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		k.body = body
	}
	return c.do(ctx, k, out)
}

// do sends a call, repeatedly if it may be, and decodes the answer: into a *[]byte as it is, otherwise from JSON.
func (c *Client) do(ctx context.Context, k call, out any) error {
	var err error
	for attempt := range c.attempts {
		if attempt > 0 {
			if wait(ctx, c.delay(attempt, err)) != nil {
				return err
			}
		}
		var response *http.Response
		if response, err = c.send(ctx, k, nil); err == nil { //nolint:bodyclose // read closes it
			err = read(response, out)
		}
		if err == nil || ctx.Err() != nil || !k.repeatable || !passing(err) {
			return err
		}
	}
	return err
}

// send makes one attempt and gives a response of success. A token that is refused is replaced once.
func (c *Client) send(ctx context.Context, k call, header http.Header) (*http.Response, error) {
	response, token, err := c.once(ctx, k, header)
	if err != nil || response.StatusCode < 300 {
		return response, err
	}
	if response.StatusCode == http.StatusUnauthorized && c.tokens != nil && c.tokens.Renew(token) {
		discard(response)
		if response, _, err = c.once(ctx, k, header); err != nil || response.StatusCode < 300 {
			return response, err
		}
	}
	defer discard(response)
	return nil, problemOf(response)
}

func (c *Client) once(ctx context.Context, k call, header http.Header) (*http.Response, string, error) {
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	request, err := http.NewRequestWithContext(ctx, k.method, c.base+k.path, body)
	if err != nil {
		return nil, "", fmt.Errorf("make a request: %w", err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if k.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	token := ""
	if c.tokens != nil {
		if token, err = c.tokens.Token(ctx); err != nil {
			return nil, "", err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, token, &unreachable{fmt.Errorf("reach Aval at %s: %w", c.base, err)}
	}
	return response, token, nil
}

// unreachable says that there was no answer, so that the outcome is unknown.
type unreachable struct{ error }

func (u *unreachable) Unwrap() error { return u.error }

// passing says whether another attempt may go better.
func passing(err error) bool {
	var lost *unreachable
	var p *Problem
	switch {
	case errors.As(err, &lost):
		return true
	case errors.As(err, &p):
		return p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests || p.Status == http.StatusBadGateway || p.Status == http.StatusGatewayTimeout
	}
	return false
}

// delay doubles with each attempt, up to two seconds, spread so that many clients do not come back at once.
func (c *Client) delay(attempt int, err error) time.Duration {
	var p *Problem
	if errors.As(err, &p) && p.retryAfter > 0 {
		return p.retryAfter
	}
	var spread [1]byte
	_, _ = rand.Read(spread[:]) // never fails
	pause := min(c.pause<<min(attempt-1, 10), 2*time.Second)
	return pause/2 + pause*time.Duration(spread[0])/256
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func read(response *http.Response, out any) error {
	defer discard(response)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return &unreachable{fmt.Errorf("the answer broke off: %w", err)}
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return nil
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("the answer of %s is not what this version of the SDK knows: %w", response.Request.URL.Path, err)
	}
	return nil
}

// discard empties a body, so that its connection can be used again.
func discard(response *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // a connection that cannot be emptied is closed below
	_ = response.Body.Close()
}

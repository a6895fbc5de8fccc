package controlpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// redacted stands where a target has sent a secret back.
const redacted = "[redacted]"

// leg is a target with what is asked of it.
type leg struct {
	*target
	request  *request
	response *response
	lookup   *lookup // nil: what came of a request cannot be asked
}

// lookup asks a target what came of a request.
type lookup struct {
	*request
	absent []span
	settle time.Duration // a request younger than this may still arrive, though the target does not know it yet
}

// key is the idempotency key of a step's request to a target: the same however often it is sent, and no other's.
func key(step Step, target string) string {
	sum := sha256.Sum256([]byte(string(step.Message) + "\x00" + step.State + "\x00" + target))
	return hex.EncodeToString(sum[:16])
}

// send makes one request and reads the answer. left is false when certainly nothing has reached the target.
func (l *leg) send(ctx context.Context, b Built, key string) (got *reply, left bool, err error) {
	limited, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var connected atomic.Bool
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	r, err := b.request(limited, l.keyHeader, key)
	if err != nil {
		return nil, false, untranslated(l.target, plain(err))
	}
	secret, err := l.authorize(r)
	if err != nil {
		return nil, false, err
	}
	answer, err := l.client.Do(r)
	if err != nil {
		return nil, connected.Load(), l.silent(limited, connected.Load(), err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, l.limit+1))
	if err != nil {
		return nil, true, l.silent(limited, true, err)
	}
	got, err = l.read(answer, raw, secret)
	return got, true, err
}

// silent says why there is no answer.
func (l *leg) silent(ctx context.Context, connected bool, err error) error {
	var refused *problem.Error
	switch {
	case errors.As(err, &refused):
		return problem.New(refused.Kind, refused.Code, "%s cannot be asked: %w", l.name, refused)
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && connected:
		return problem.New(problem.Unavailable, "control-point-timeout", "%s did not answer in %s; it may have done what it was asked: %w", l.name, l.timeout, ctx.Err())
	case connected:
		return problem.New(problem.Unavailable, "control-point-timeout", "%s broke off without an answer; it may have done what it was asked: %w", l.name, plain(err))
	}
	return problem.New(problem.Unavailable, "control-point-unreachable", "%s at %s cannot be reached: %w", l.name, l.host, plain(err))
}

// plain takes the URL, which holds a message's data, out of an error of net/http.
func plain(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// read takes an answer that is JSON; one that is no success may be anything, and counts by its status alone.
func (l *leg) read(answer *http.Response, raw []byte, secret string) (*reply, error) {
	got := &reply{status: answer.StatusCode, headers: answer.Header}
	if len(secret) >= 8 { // shorter ones would take digits out of amounts
		raw = bytes.ReplaceAll(raw, []byte(secret), []byte(redacted))
		for _, values := range got.headers {
			for i := range values {
				values[i] = strings.ReplaceAll(values[i], secret, redacted)
			}
		}
	}
	body, err := l.body(answer.Header.Get("Content-Type"), raw)
	if err != nil && among(l.response.success, got.status) {
		return nil, unreadable(l.target, err).err
	}
	got.body = body
	return got, nil
}

func (l *leg) body(contentType string, raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if int64(len(raw)) > l.limit {
		return nil, fmt.Errorf("it is longer than %d bytes (max_response)", l.limit)
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return nil, errors.New("its Content-Type is not JSON")
	}
	return parse(raw)
}

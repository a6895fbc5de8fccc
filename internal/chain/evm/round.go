package evm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/avalhq/aval/internal/lifecycle"
)

// A node that says that it is asked too often is left alone: as long as it says, or for a time that doubles from the first to
// the last of these.
const (
	shortestQuiet = 250 * time.Millisecond
	longestQuiet  = 30 * time.Second
)

// batch does the requests in as few round trips as the node takes. Each element keeps its own error; the answer is one that
// concerns the node as a whole.
func (e *endpoint) batch(ctx context.Context, elems []rpc.BatchElem) error {
	for len(elems) > 0 {
		part := elems[:e.fitting(elems)]
		err := e.round(ctx, part)
		if len(part) > 1 && oversized(err, part) {
			e.fewer(len(part))
			continue
		}
		if err != nil {
			return err
		}
		elems = elems[len(part):]
	}
	return nil
}

// patience is how often what a node could not answer is asked again at once: errors that come and go end here.
const patience = 3

// read is a batch in which every request has to succeed.
func (e *endpoint) read(ctx context.Context, elems []rpc.BatchElem) error {
	return e.insistently(ctx, elems, func(class) bool { return false })
}

// history is a batch about what the node may have thrown away: what it does not keep is left as it is.
func (e *endpoint) history(ctx context.Context, elems []rpc.BatchElem) error {
	return e.insistently(ctx, elems, func(c class) bool { return c == pruned })
}

// insistently does the requests until each has succeeded, or has failed in a way that is an answer, too. Where being busy is one, it is
// that of a part: a node that answers nothing has not answered.
func (e *endpoint) insistently(ctx context.Context, elems []rpc.BatchElem, answers func(class) bool) error {
	left := elems
	for attempt := range patience + 1 {
		if err := e.batch(ctx, left); err != nil {
			return err
		}
		var open []rpc.BatchElem
		for _, elem := range left {
			if class := classify(elem.Error); class == busy {
				open = append(open, elem)
			} else if class != none && !answers(class) {
				return e.unanswered(elem.Method, elem.Error)
			}
		}
		if left = open; len(left) == 0 {
			return nil
		}
		if attempt < patience && lifecycle.Sleep(ctx, 10*time.Millisecond<<attempt) != nil {
			return e.unanswered(left[0].Method, left[0].Error)
		}
	}
	if len(left) < len(elems) && answers(busy) {
		return nil
	}
	return e.unanswered(left[0].Method, left[0].Error)
}

// fitting is how many of the requests go into one round trip, by count and by bytes.
func (e *endpoint) fitting(elems []rpc.BatchElem) int {
	e.mu.Lock()
	most := min(e.most, len(elems))
	e.mu.Unlock()
	bytes := 0
	for i, elem := range elems[:most] {
		for _, arg := range elem.Args {
			bytes += weight(arg)
		}
		if bytes > e.config.MaxBytes && i > 0 {
			return i
		}
	}
	return most
}

// weight is about how many bytes an argument takes in JSON.
func weight(arg any) int {
	switch arg := arg.(type) {
	case hexutil.Bytes:
		return 2*len(arg) + 64
	case callArguments:
		return 2*len(arg.Data) + 256
	default:
		return 64
	}
}

// oversized says whether a round trip failed because it was too big for the node: then nothing of it was refused for its own
// sake, and it is done again in parts. A node that does not know batches answers one object in the place of many.
func oversized(err error, elems []rpc.BatchElem) bool {
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		return true
	}
	if err != nil {
		return classify(errors.Unwrap(err)) == tooLarge
	}
	for _, elem := range elems {
		if classify(elem.Error) == tooLarge {
			return true
		}
	}
	return false
}

// fewer remembers that so many requests were too many.
func (e *endpoint) fewer(than int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.most = min(e.most, max(1, than/2))
}

// round is one round trip.
func (e *endpoint) round(ctx context.Context, elems []rpc.BatchElem) error {
	if ctx.Err() != nil {
		return e.unreachable(ctx.Err())
	}
	if err := e.admit(); err != nil {
		return err
	}
	begun := time.Now()
	err := e.exchange(ctx, elems)
	e.note(ctx, err, elems, time.Since(begun))
	return err
}

func (e *endpoint) exchange(ctx context.Context, elems []rpc.BatchElem) error {
	client, err := e.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	for i := range elems {
		elems[i].Error = nil // of an earlier attempt
	}
	if err := e.call(ctx, client, elems); err != nil {
		e.doubt()
		return e.unreachable(err)
	}
	return nil
}

// call sends one request as it is, which nodes understand that know no batches, and several as a batch.
func (e *endpoint) call(ctx context.Context, client *rpc.Client, elems []rpc.BatchElem) error {
	if len(elems) != 1 {
		return client.BatchCallContext(ctx, elems)
	}
	err := client.CallContext(ctx, elems[0].Result, elems[0].Method, elems[0].Args...)
	if answered := rpc.Error(nil); errors.As(err, &answered) {
		elems[0].Error, err = err, nil
	}
	return err
}

// note learns from a round trip.
func (e *endpoint) note(ctx context.Context, err error, elems []rpc.BatchElem, took time.Duration) {
	givenUp := err != nil && errors.Is(ctx.Err(), context.Canceled) // by us: it says nothing about the node
	outcome, why := e.gist(err, elems)
	if e.config.Observe != nil && !givenUp {
		e.config.Observe(e.name, string(outcome), took)
	}
	switch {
	case givenUp && e.breaker.State() != circuitbreaker.HalfOpenState:
		return
	case outcome == unreached || outcome == busy: // also a trial that was given up: its permit comes back with an outcome
		e.breaker.RecordFailure()
	default:
		e.breaker.RecordSuccess()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if outcome == limited {
		e.hush(why)
	} else {
		e.strikes = 0
	}
	if (why == nil) != (e.failure == nil) {
		e.since = time.Now()
	}
	e.failure = why
}

// gist is what a round trip says about the node and why: none when it has answered. A limit on one request of a batch counts
// for all; a node that could answer none is busy.
func (e *endpoint) gist(err error, elems []rpc.BatchElem) (class, error) {
	if len(elems) > 1 && oversized(err, elems) {
		return tooLarge, nil
	}
	if err != nil {
		return classify(err), err
	}
	silent := len(elems) > 0
	for _, elem := range elems {
		switch class := classify(elem.Error); {
		case class == limited:
			return limited, elem.Error
		case class != busy:
			silent = false
		}
	}
	if silent {
		return busy, e.unanswered(elems[0].Method, elems[0].Error)
	}
	return none, nil
}

// hush leaves the node alone for a while: as long as it asks for, or longer from time to time. The lock is held.
func (e *endpoint) hush(hint error) {
	wait := min(longestQuiet, shortestQuiet<<min(e.strikes, 16))
	e.strikes++
	if asked := wanted(hint); asked > 0 {
		wait = min(asked, longestQuiet)
	}
	if until := time.Now().Add(wait); until.After(e.quiet) {
		e.quiet = until
	}
}

// wanted is the pause that an answer asks for: Infura's data.backoff_seconds.
func wanted(err error) time.Duration {
	var data rpc.DataError
	if !errors.As(err, &data) {
		return 0
	}
	fields, _ := data.ErrorData().(map[string]any)
	seconds, _ := fields["backoff_seconds"].(float64)
	return time.Duration(seconds * float64(time.Second))
}

// listening reads Retry-After (RFC 9110, section 10.2.3), which the JSON-RPC client drops.
type listening struct {
	endpoint *endpoint
	http.RoundTripper
}

// RoundTrip does the request.
func (l listening) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if err == nil && (response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable) {
		l.endpoint.rest(response.Header.Get("Retry-After"))
	}
	return response, err
}

// rest leaves the node alone until the time of a Retry-After, in seconds or as a date.
func (e *endpoint) rest(after string) {
	until, err := http.ParseTime(after)
	if seconds, whole := strconv.Atoi(after); whole == nil && seconds >= 0 {
		until, err = time.Now().Add(time.Duration(seconds)*time.Second), nil
	}
	if err != nil {
		return
	}
	if latest := time.Now().Add(longestQuiet); until.After(latest) {
		until = latest
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if until.After(e.quiet) {
		e.quiet = until
	}
}

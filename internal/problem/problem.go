// Package problem is the one error that crosses Aval's boundaries.
//
// A refusal or failure that a person or a workflow must act on is an *Error: a Kind that says whose move it is, a Code
// that programs match (kebab-case, stable, also the error name that a workflow's Retry and Catch see), and a Detail that
// reads like a sentence: what was tried, on what, what to do. Everything below an edge wraps with %w; the edges alone
// (HTTP, command line, controller) render. A Detail never holds a secret or another client's data.
package problem

import (
	"errors"
	"fmt"
	"slices"
)

// Kind says what sort of failure it is and who has to act.
type Kind uint8

// The kinds, each with the HTTP status it renders as.
const (
	Internal        Kind = iota // 500: a defect or an unexpected failure in Aval
	Invalid                     // 400: the request itself is wrong
	Unauthenticated             // 401: nobody known is asking
	Forbidden                   // 403: known, and not allowed
	NotFound                    // 404: not there, or not the caller's
	Conflict                    // 409: contradicts what is already recorded
	Gone                        // 410: was there and has expired
	Unprocessable               // 422: well formed and impossible
	TooMany                     // 429: slow down
	Unavailable                 // 503: try again later, nothing was lost
)

var names = [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not-found", "conflict", "gone", "unprocessable", "too-many", "unavailable"}

var statuses = [...]int{500, 400, 401, 403, 404, 409, 410, 422, 429, 503}

// String is the kind's kebab-case name.
func (k Kind) String() string { return names[k] }

// KindNamed is the kind with a name that String gave; Internal for any other.
func KindNamed(name string) Kind { return Kind(max(0, slices.Index(names[:], name))) }

// Status is the HTTP status that the kind renders as.
func (k Kind) Status() int { return statuses[k] }

// Error is a typed failure. The zero Cause is allowed.
type Error struct {
	Kind   Kind
	Code   string // kebab-case, stable: "message-id-expired"
	Detail string // one or two sentences for the person who must act
	Cause  error
}

// New makes an Error; the format may hold one %w, which becomes the Cause.
func New(kind Kind, code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Code: code, Detail: err.Error(), Cause: errors.Unwrap(err)}
}

// Error is the Detail.
func (e *Error) Error() string { return e.Detail }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is makes two problems equal when kind and code are, so that sentinels can be compared with errors.Is.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Kind == e.Kind && other.Code == e.Code
}

// From finds the typed failure in err; what is not typed becomes an Internal one that keeps err as its cause.
func From(err error) *Error {
	var typed *Error
	if errors.As(err, &typed) {
		return typed
	}
	return &Error{Kind: Internal, Code: "internal", Detail: err.Error(), Cause: err}
}

// KindOf is the kind of From(err).
func KindOf(err error) Kind { return From(err).Kind }

package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/oauth2"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

// The exit codes, as aval --help explains them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnavailable = 5
)

// failure is an error as the command line tells it.
type failure struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Status int    `json:"status"` // of HTTP; what the exit code follows from
}

// errInterrupted ends a command that Ctrl-C cut short.
var errInterrupted = problem.New(problem.Unprocessable, "interrupted", "interrupted; what was submitted goes on without this command")

// errTold ends a command whose answer has said already what is wrong.
var errTold = errors.New("the answer says what is wrong")

// misused is a mistake in how a command was called.
func misused(code, format string, args ...any) error {
	return problem.New(problem.Invalid, code, format, args...)
}

// wrongUsage turns what the parser says into a sentence that leads on.
func wrongUsage(err error) error {
	command := "aval"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			command = "aval " + node.Path()
		}
	}
	return misused("usage", "%w; %s --help shows how to call it", err, strings.TrimSpace(command))
}

// explain finds out what an error means for whoever called.
func explain(err error) failure {
	var refusal *client.Problem
	var token *oauth2.RetrieveError
	var typed *problem.Error
	var address *url.Error
	var network net.Error
	switch {
	case errors.As(err, &refusal):
		return failure{refusal.Code, refusal.Error(), refusal.Status}
	case errors.As(err, &typed):
		return failure{typed.Code, typed.Detail, typed.Kind.Status()}
	case errors.As(err, &token) && token.Response != nil && token.Response.StatusCode < 500:
		return failure{"credentials-refused", "Aval refused the client id and its secret; look at the profile, or at AVAL_CLIENT_ID and AVAL_CLIENT_SECRET", token.Response.StatusCode}
	case errors.Is(err, context.Canceled):
		return failure{errInterrupted.Code, errInterrupted.Detail, errInterrupted.Kind.Status()}
	case errors.As(err, &address):
		return failure{"unreachable", "cannot reach " + place(address.URL) + ": " + address.Err.Error() + "; start Aval with aval dev, or say where it is with --url", 503}
	case errors.As(err, &network), errors.As(err, &token):
		return failure{"unreachable", err.Error(), 503}
	}
	return failure{"internal", err.Error(), 500}
}

// place is a URL without what may be secret in it.
func place(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "Aval"
	}
	return u.Scheme + "://" + u.Host
}

// exit is the code that a failure ends the program with.
func (f failure) exit() int {
	switch f.Status {
	case 400:
		return exitUsage
	case 404:
		return exitNotFound
	case 409:
		return exitConflict
	case 429, 502, 503, 504:
		return exitUnavailable
	}
	return exitFailed
}

// fail tells an error, if there is one, and gives the exit code.
func (s *screen) fail(err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errTold) {
		return exitFailed
	}
	f := explain(err)
	if s.json {
		s.encode(s.err, map[string]failure{"error": f})
		return f.exit()
	}
	detail := strings.Join(strings.Fields(f.Detail), " ")
	s.note("%s %s (%s)", s.paint(red, "aval:"), detail, f.Code)
	return f.exit()
}

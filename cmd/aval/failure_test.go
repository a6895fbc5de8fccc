package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

func TestExitCodesFollowFromTheFailure(t *testing.T) {
	for want, errs := range map[int][]error{
		exitDone:        {nil},
		exitFailed:      {errors.New("x"), problem.New(problem.Unprocessable, "a", "b"), &client.Problem{Status: 403}, &client.Problem{Status: 410}, context.Canceled},
		exitUsage:       {misused("a", "b"), &client.Problem{Status: 400}},
		exitNotFound:    {problem.New(problem.NotFound, "a", "b"), &client.Problem{Status: 404}},
		exitConflict:    {problem.New(problem.Conflict, "a", "b"), &client.Problem{Status: 409}},
		exitUnavailable: {problem.New(problem.Unavailable, "a", "b"), &client.Problem{Status: 429}, fmt.Errorf("reach: %w", &url.Error{Op: "Get", URL: "http://h", Err: errors.New("refused")})},
	} {
		for _, err := range errs {
			s := &screen{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
			if got := s.fail(err); got != want {
				t.Errorf("%v ends with %d, not %d", err, got, want)
			}
		}
	}
}

func TestAFailureIsOneLine(t *testing.T) {
	out := &bytes.Buffer{}
	s := &screen{out: out, err: out}
	s.fail(errors.Join(errors.New("one"), errors.New("two")))
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("it is told as %q", out)
	}
}

// I25: what follows a host may be an access key.
func TestAFailureHoldsNoURLBeyondItsHost(t *testing.T) {
	f := explain(&url.Error{Op: "Post", URL: "https://user:pass@host.example/secret-key?x=y", Err: errors.New("refused")})
	if strings.Contains(f.Detail, "secret") || strings.Contains(f.Detail, "pass") || !strings.Contains(f.Detail, "host.example") {
		t.Errorf("it is told as %q", f.Detail)
	}
}

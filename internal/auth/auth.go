// Package auth says who is asking: it verifies OAuth2 bearer tokens of any OIDC issuer, and is one itself for development.
//
// A token is a JWT signed by the issuer with an asymmetric key; audience, issuer and expiry must hold (A20). Its scopes say
// in which role the subject comes: Client, whose subject is a client id of the register, Operator, or Task. Whether the
// client still may do anything is not answered here: the register is asked at every request (A22).
//
// A verified token is remembered by its hash for at most five minutes and never beyond its expiry, so that a busy client
// costs one signature check in that time. Nothing else is kept; there are no sessions.
package auth

import (
	"context"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// The scopes that Aval knows. Others are ignored.
const (
	Client   = "aval:client"   // acts for the client that is the token's subject
	Operator = "aval:operator" // sees everything, parks and resumes, registers clients
	Task     = "aval:task"     // answers tasks whose task tokens it has, and nothing else
)

// Principal is who a token speaks for.
type Principal struct {
	Subject string
	Scopes  []string
	Expires time.Time
}

// Has says whether the token was given the scope.
func (p Principal) Has(scope string) bool { return slices.Contains(p.Scopes, scope) }

// Verifier tells who a bearer token speaks for. Its refusals are ErrToken and issuer-unreachable (Unavailable).
type Verifier interface {
	Verify(ctx context.Context, token string) (Principal, error)
}

// ErrToken is the answer to every bad token. It does not say what is wrong with it: that is for the log, not for whoever
// tries tokens.
var ErrToken = problem.New(problem.Unauthenticated, "token-invalid", "the bearer token is missing, expired or not valid here; ask the issuer for a new one")

// refuse keeps the cause for the log.
func refuse(cause error) error {
	e := *ErrToken
	e.Cause = cause
	return &e
}

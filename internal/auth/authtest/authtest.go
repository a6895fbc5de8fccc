// Package authtest is the conformance suite of auth.Secrets: what every backend that keeps the development issuer's
// credentials has to show. It says nothing about tokens.
package authtest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
)

// Subject is a store under test.
type Subject struct {
	Secrets auth.Secrets
	Faults  *fault.Points
	// Reopen ends this store as a crash would and opens the same data again.
	Reopen func(t *testing.T) Subject
}

// Run runs the suite; open gives an empty store each time.
func Run(t *testing.T, open func(*testing.T) Subject) {
	t.Helper()
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/Unknown":                  unknown,
			"basic/LastOneWins":              lastOneWins,
			"basic/StaysAfterCrash":          staysAfterCrash,
			"concurrency/OneOfManyWins":      oneOfManyWins,
			"faults/FailedIsNotStored":       failedIsNotStored,
			"faults/ReportedFailedPersisted": reportedFailedPersisted,
		},
		Lacks: map[conform.Tier]string{
			conform.Transactions: "a secret is one row, and nothing changes with it",
		},
	}.Run(t, open)
}

// secret makes one that no other number gives.
func secret(client string, number byte) auth.Secret {
	s := auth.Secret{Client: client, Hash: bytes.Repeat([]byte{number}, 32), Scopes: []string{auth.Client}}
	if number%2 == 1 {
		s.Scopes = append(s.Scopes, auth.Operator)
	}
	return s
}

func same(a, b auth.Secret) bool {
	return a.Client == b.Client && bytes.Equal(a.Hash, b.Hash) && slices.Equal(a.Scopes, b.Scopes)
}

func put(t *testing.T, s Subject, all ...auth.Secret) {
	t.Helper()
	for _, one := range all {
		if err := s.Secrets.Put(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
}

func stored(t *testing.T, s Subject, all ...auth.Secret) {
	t.Helper()
	for _, want := range all {
		if got, err := s.Secrets.Get(t.Context(), want.Client); err != nil || !same(got, want) {
			t.Errorf("Get(%s) = %v, %v; want %v", want.Client, got, err, want)
		}
	}
}

func unknown(t *testing.T, s Subject) {
	if _, err := s.Secrets.Get(t.Context(), "cli_nobody"); !errors.Is(err, auth.ErrSecretUnknown) {
		t.Fatalf("Get of a client without a secret: %v, want secret-unknown", err)
	}
}

func lastOneWins(t *testing.T, s Subject) {
	put(t, s, secret("cli_a", 1), secret("cli_b", 0), secret("cli_a", 0xff))
	stored(t, s, secret("cli_a", 0xff), secret("cli_b", 0))
}

func staysAfterCrash(t *testing.T, s Subject) {
	put(t, s, secret("cli_a", 1), secret("cli_a", 2))
	stored(t, s.Reopen(t), secret("cli_a", 2))
}

// oneOfManyWins: what is read is one of the secrets that were written, whole, and the same to all who read afterwards.
func oneOfManyWins(t *testing.T, s Subject) {
	var writers sync.WaitGroup
	for n := range 16 {
		writers.Go(func() {
			if err := s.Secrets.Put(t.Context(), secret("cli_a", byte(n))); err != nil {
				t.Error(err)
			}
			got, err := s.Secrets.Get(t.Context(), "cli_a")
			if err != nil || len(got.Hash) != 32 || !same(got, secret("cli_a", got.Hash[0])) {
				t.Errorf("read %v, %v while others write", got, err)
			}
		})
	}
	writers.Wait()
	got, err := s.Secrets.Get(t.Context(), "cli_a")
	if err != nil {
		t.Fatal(err)
	}
	stored(t, s.Reopen(t), got)
}

func failedIsNotStored(t *testing.T, s Subject) {
	put(t, s, secret("cli_a", 1))
	s.Faults.Arm("secrets.put.before", fault.Fail, 1)
	if err := s.Secrets.Put(t.Context(), secret("cli_a", 2)); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("a Put that fails: %v", err)
	}
	stored(t, s, secret("cli_a", 1))
	stored(t, s.Reopen(t), secret("cli_a", 1))
}

func reportedFailedPersisted(t *testing.T, s Subject) {
	put(t, s, secret("cli_a", 1))
	s.Faults.Arm("secrets.put.after", fault.Fail, 1)
	if err := s.Secrets.Put(t.Context(), secret("cli_a", 2)); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("a Put that is reported as failed: %v", err)
	}
	stored(t, s, secret("cli_a", 2))
	stored(t, s.Reopen(t), secret("cli_a", 2))
}

// Package authtest is the conformance suite of auth.Secrets: what every backend that keeps the development issuer's
// credentials has to show. It says nothing about tokens.
package authtest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/avalhq/aval/internal/auth"
)

// Run runs the suite; open gives an empty store each time.
func Run(t *testing.T, open func(*testing.T) auth.Secrets) {
	t.Run("unknown", func(t *testing.T) {
		if _, err := open(t).Get(t.Context(), "cli_nobody"); !errors.Is(err, auth.ErrSecretUnknown) {
			t.Fatalf("Get of a client without a secret: %v, want secret-unknown", err)
		}
	})
	t.Run("the last one wins", func(t *testing.T) { last(t, open(t)) })
}

func last(t *testing.T, secrets auth.Secrets) {
	first := auth.Secret{Client: "cli_a", Hash: bytes.Repeat([]byte{1}, 32), Scopes: []string{auth.Client}}
	second := auth.Secret{Client: "cli_a", Hash: bytes.Repeat([]byte{0xff}, 32), Scopes: []string{auth.Client, auth.Operator}}
	other := auth.Secret{Client: "cli_b", Hash: bytes.Repeat([]byte{0}, 32), Scopes: []string{auth.Operator}}
	for _, s := range []auth.Secret{first, other, second} {
		if err := secrets.Put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []auth.Secret{second, other} {
		got, err := secrets.Get(t.Context(), want.Client)
		if err != nil {
			t.Fatal(err)
		}
		if got.Client != want.Client || !bytes.Equal(got.Hash, want.Hash) || !slices.Equal(got.Scopes, want.Scopes) {
			t.Errorf("Get(%s) = %v, want %v", want.Client, got, want)
		}
	}
}

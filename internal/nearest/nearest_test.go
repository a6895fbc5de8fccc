package nearest_test

import (
	"testing"

	"github.com/avalhq/aval/internal/nearest"
)

func TestOf(t *testing.T) {
	known := []string{"amount", "asset", "wallet", "MaxAttempts"}
	for name, want := range map[string]string{
		"amuont": "amount", "wlalet": "wallet", "asste": "asset", "ass": "", "Amount": "amount", "assets": "asset", "max-attempts": "MaxAttempts", "MaxAtempts": "MaxAttempts", "chain": "", "": "",
	} {
		if got := nearest.Of(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

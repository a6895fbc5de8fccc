package main

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/problem"
)

func TestAmountsAreReadExactly(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "25000000": "25000000", "1.5 ether": "1500000000000000000", "1.5e18": "1500000000000000000", "0.000000000000000001eth": "1",
		"2 gwei": "2000000000", "1.10e1": "11", " 7 wei ": "7", "1.0": "1", "340282366920938463463374607431768211456": "340282366920938463463374607431768211456",
	} {
		got, err := readAmount(text, "native")
		if err != nil || got.String() != want {
			t.Errorf("%q is read as %v (%v), not %s", text, got, err, want)
		}
	}
}

func TestAmountsAreNeverRoundedOrGuessed(t *testing.T) {
	for text, code := range map[string]string{
		"1.5": "amount-inexact", "0.0000000000000000001 ether": "amount-inexact", "1.55e1": "amount-inexact",
		"": "amount-malformed", "-1": "amount-malformed", "1,5 ether": "amount-malformed", "0x10": "amount-malformed", "1e999": "amount-malformed", "1 000": "amount-malformed",
		"5 euro": "amount-unit-unknown",
	} {
		if got, err := readAmount(text, "native"); err == nil || problem.From(err).Code != code {
			t.Errorf("%q gives %v, %v; it should be %s", text, got, err, code)
		}
	}
	if got, err := readAmount("1 ether", "erc20:0x12"); err == nil {
		t.Errorf("a token's amount in ether is read as %s", got)
	}
}

func TestAmountsAreShownAsTheyAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "bytes")
		n := new(big.Int).SetBytes(bytes)
		shown := showAmount(n.String(), "native")
		if read, err := readAmount(shown, "native"); err != nil || read.Cmp(n) != 0 {
			t.Fatalf("%s is shown as %q, which is read as %v (%v)", n, shown, read, err)
		}
	})
}

package main

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// The decimals of the names that amounts of a chain's own coin may be given in.
var coinUnits = map[string]int{"": 0, "wei": 0, "gwei": 9, "ether": 18, "eth": 18}

// written is an amount as people give it: digits, with a decimal point or exponent where that is exact, and a unit.
var written = regexp.MustCompile(`^([0-9]{1,78})(?:\.([0-9]{1,78}))?(?:[eE]([0-9]{1,2}))?\s*([a-zA-Z]*)$`)

// readAmount gives an amount of an asset in its smallest unit, or says why it is none. It never rounds.
func readAmount(text, asset string) (*big.Int, error) {
	parts := written.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return nil, misused("amount-malformed", "%q is no amount: give digits of the smallest unit, such as 25000000, or for a coin 1.5 ether", text)
	}
	decimals, known := coinUnits[strings.ToLower(parts[4])]
	if !known || asset != "native" && parts[4] != "" {
		return nil, misused("amount-unit-unknown", "the unit of %q is not known for the asset %s: wei, gwei and ether are for native; a token's amount is in its smallest unit", text, asset)
	}
	exponent, _ := strconv.Atoi("0" + parts[3]) // two digits at most
	shift := decimals + exponent - len(parts[2])
	n, _ := new(big.Int).SetString(parts[1]+parts[2], 10) // digits alone
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil)
	if shift >= 0 {
		n.Mul(n, scale)
	} else if _, rest := n.QuoRem(n, scale, new(big.Int)); rest.Sign() != 0 {
		return nil, misused("amount-inexact", "%q is not a whole number of the smallest unit, and amounts are not rounded", text)
	}
	return n, nil
}

// showAmount is an amount with its unit, for people: exact, in ether where that is shorter.
func showAmount(amount, asset string) string {
	n, ok := new(big.Int).SetString(amount, 10)
	switch {
	case !ok:
		return amount
	case asset != "native":
		return amount + " units"
	case n.CmpAbs(big.NewInt(1e12)) < 0:
		return amount + " wei"
	}
	sign, digits := "", n.String()
	if n.Sign() < 0 {
		sign, digits = "-", digits[1:]
	}
	if len(digits) <= 18 {
		digits = strings.Repeat("0", 19-len(digits)) + digits
	}
	whole, fraction := digits[:len(digits)-18], strings.TrimRight(digits[len(digits)-18:], "0")
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction + " ether"
}

package config

import (
	"errors"
	"math/big"
	"regexp"
)

// Coin is an amount of a chain's own coin with its unit: "30 gwei", "0.002 ether", "1000 wei". Empty means that none is set.
type Coin string

var coinForm = regexp.MustCompile(`^([0-9]{1,60}(?:\.[0-9]{1,18})?) (wei|gwei|ether)$`)

// Wei is the amount in the smallest unit, nil when none is set.
func (c Coin) Wei() (*big.Int, error) {
	if c == "" {
		return nil, nil
	}
	parts := coinForm.FindStringSubmatch(string(c))
	if parts == nil {
		return nil, errors.New("write a number and wei, gwei or ether, such as 0.002 ether")
	}
	amount, _ := new(big.Rat).SetString(parts[1])
	digits := map[string]int64{"wei": 0, "gwei": 9, "ether": 18}[parts[2]]
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)
	if amount.Mul(amount, new(big.Rat).SetInt(unit)); !amount.IsInt() || amount.Num().BitLen() > 256 {
		return nil, errors.New("it is a fraction of a wei, or more than 256 bits hold")
	}
	return amount.Num(), nil
}

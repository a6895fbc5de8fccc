package message

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// errAbsurd is the one format failure that is well formed and impossible: 422 instead of 400 (A24).
var errAbsurd = errors.New("must be less than 2^128 of the smallest unit; no asset has that much")

// format is a string format of our own: schemas name it, and a body's strings are brought to its one notation.
type format struct {
	name  string
	check func(s string) error
	// canonical is the one notation of a valid s. Rules that compare text (policies, workflows) rely on it.
	canonical func(s string) string
}

func same(s string) string { return s }

// formats lists what a schema may name beside the formats of JSON Schema itself.
func formats() []format {
	return []format{
		{"uint256", checkUint256, same},
		{"amount", checkAmount, same},
		{"evm-address", checkAddress, checksummed},
		{"evm-selector", checkSelector, strings.ToLower},
		{"hex-bytes", checkHex, strings.ToLower},
		{"asset", checkAsset, canonicalAsset},
	}
}

// checkUint256 takes decimal digits without a leading zero, up to 2^256-1.
func checkUint256(s string) error {
	_, err := parseUint(s)
	return err
}

// parseUint reads what checkUint256 takes.
func parseUint(s string) (*uint256.Int, error) {
	plain := s != "" && len(s) <= 78 && (s == "0" || s[0] != '0')
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= '0' && s[i] <= '9'
	}
	if !plain {
		return nil, errors.New("must be a decimal number: digits only, no leading zero, no sign, no fraction")
	}
	n, err := uint256.FromDecimal(s)
	if err != nil {
		return nil, errors.New("must be less than 2^256")
	}
	return n, nil
}

// checkAmount is checkUint256 without the numbers that no asset reaches (A24).
func checkAmount(s string) error {
	n, err := parseUint(s)
	if err == nil && n.BitLen() > 128 {
		return errAbsurd
	}
	return err
}

// checkAddress takes 20 bytes of hex: in one case, or mixed as EIP-55 says. The zero address is nobody's.
func checkAddress(s string) error {
	if len(s) != 42 || checkHex(s) != nil {
		return errors.New("must be an address: 0x and 40 hexadecimal digits")
	}
	address := common.HexToAddress(s)
	if address == (common.Address{}) {
		return errors.New("must not be the zero address")
	}
	digits := s[2:]
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && s != address.Hex() {
		return errors.New("has a wrong EIP-55 checksum; check the address for a typing error")
	}
	return nil
}

func checksummed(s string) string { return common.HexToAddress(s).Hex() }

func checkSelector(s string) error {
	if len(s) != 10 || checkHex(s) != nil {
		return errors.New("must be a function selector: 0x and 8 hexadecimal digits")
	}
	return nil
}

func checkHex(s string) error {
	if digits, ok := strings.CutPrefix(s, "0x"); ok {
		if _, err := hex.DecodeString(digits); err == nil {
			return nil
		}
	}
	return errors.New("must be bytes: 0x and an even number of hexadecimal digits")
}

const tokenPrefix = "erc20:"

func checkAsset(s string) error {
	if s == "native" {
		return nil
	}
	token, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return errors.New(`must be "native" or "erc20:" and the address of the token`)
	}
	return checkAddress(token)
}

func canonicalAsset(s string) string {
	if token, ok := strings.CutPrefix(s, tokenPrefix); ok {
		return tokenPrefix + checksummed(token)
	}
	return s
}

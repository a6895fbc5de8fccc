package evm

import (
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/problem"
)

// Address checks an address and gives it its EIP-55 checksum. One case throughout carries no checksum and is accepted; mixed
// case has to match it. The zero address is refused: what is sent there is lost.
func (c *Codec) Address(s string) (string, error) {
	address, err := parseAddress(s)
	if err != nil {
		return "", err
	}
	return address.Hex(), nil
}

// AddressOf is the last 20 bytes of the hash of the public key's two coordinates.
func (c *Codec) AddressOf(public []byte) (string, error) {
	key, err := crypto.UnmarshalPubkey(public) // checks that the point is on the curve
	if err != nil {
		return "", problem.New(problem.Invalid, "public-key-invalid", "a public key is 65 bytes, uncompressed, and on the curve secp256k1: %w", err)
	}
	return crypto.PubkeyToAddress(*key).Hex(), nil
}

func parseAddress(s string) (common.Address, error) {
	digits, prefixed := strings.CutPrefix(s, "0x")
	if !prefixed || !common.IsHexAddress(digits) || len(digits) != 2*common.AddressLength {
		return common.Address{}, addressInvalid("%q is no Ethereum address: 0x and 40 hex digits are expected", shortened(s))
	}
	address := common.HexToAddress(s)
	if address == (common.Address{}) {
		return common.Address{}, addressInvalid("the zero address is not accepted: what is sent there is lost")
	}
	mixed := strings.ToLower(digits) != digits && strings.ToUpper(digits) != digits
	if mixed && address.Hex() != s {
		return common.Address{}, addressInvalid("the address %s has a wrong checksum (EIP-55): check it for a typing error", s)
	}
	return address, nil
}

func addressInvalid(format string, args ...any) error {
	return problem.New(problem.Invalid, "address-invalid", format, args...)
}

// canonical is the checksummed form of an address that was checked.
func canonical(s string) string { return common.HexToAddress(s).Hex() }

// TransferToken is the call data of ERC-20's transfer(address,uint256).
func (c *Codec) TransferToken(to string, amount *big.Int) ([]byte, error) {
	recipient, err := parseAddress(to)
	if err != nil {
		return nil, err
	}
	if amount == nil || amount.Sign() < 0 || amount.BitLen() > 256 {
		return nil, problem.New(problem.Unprocessable, "amount-invalid", "a token amount is between 0 and 2^256-1 of the token's smallest unit")
	}
	data := append(selector("transfer(address,uint256)"), word(recipient.Bytes())...)
	return append(data, word(amount.Bytes())...), nil
}

// selector is the first four bytes of the hash of a function's signature.
func selector(signature string) []byte { return crypto.Keccak256([]byte(signature))[:4:4] }

func word(value []byte) []byte { return common.LeftPadBytes(value, 32) }

// shortened keeps what others wrote from filling a log.
func shortened(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

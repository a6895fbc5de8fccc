package message

import (
	"encoding/hex"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"

	"github.com/avalhq/aval/internal/problem"
)

// signature is r, s and the recovery id (0 or 1), in the order that crypto.Ecrecover takes.
type signature [65]byte

// The order of secp256k1 and its half: a signature with s above the half has a twin below it (EIP-2).
var (
	order     = uint256.MustFromHex("0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	halfOrder = new(uint256.Int).Rsh(order, 1)
)

// parseSignature accepts one form of each signature: 65 bytes, r and s in [1, n), s in the lower half, v 27 or 28 (A3, A6).
func parseSignature(text string) (signature, error) {
	var sig signature
	digits, ok := strings.CutPrefix(text, "0x")
	raw, err := hex.DecodeString(digits)
	switch {
	case !ok || err != nil:
		return sig, badSignature("must be 0x and hexadecimal digits")
	case len(raw) == 64:
		return sig, badSignature("has 64 bytes, the compact form of EIP-2098; send the 65 bytes r, s, v")
	case len(raw) != len(sig):
		return sig, badSignature("must have 65 bytes: r, s, v")
	}
	copy(sig[:], raw)
	r, s := new(uint256.Int).SetBytes(sig[:32]), new(uint256.Int).SetBytes(sig[32:64])
	switch {
	case r.IsZero() || !r.Lt(order):
		return sig, badSignature("has an r that is zero or not below the order of the curve")
	case s.IsZero() || !s.Lt(order):
		return sig, badSignature("has an s that is zero or not below the order of the curve")
	case s.Gt(halfOrder):
		return sig, badSignature("has an s in the upper half; send its twin n-s with the other v")
	case sig[64] != 27 && sig[64] != 28:
		return sig, badSignature("has a v that is neither 27 nor 28")
	}
	sig[64] -= 27
	return sig, nil
}

// recover is the address whose key made the signature.
func (s signature) recover(digest common.Hash) (common.Address, error) {
	public, err := crypto.Ecrecover(digest[:], s[:])
	if err != nil || len(public) != 65 {
		return common.Address{}, badSignature("is no signature of any key")
	}
	signer := common.BytesToAddress(crypto.Keccak256(public[1:])[12:])
	if signer == (common.Address{}) {
		return common.Address{}, badSignature("recovers to the zero address")
	}
	return signer, nil
}

func badSignature(reason string) error {
	return problem.New(problem.Invalid, "signature-malformed", "the signature %s", reason)
}

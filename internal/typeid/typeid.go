// Package typeid writes UUIDs with a type prefix, as the TypeID specification 0.3 does: "msg_" and 26 characters of
// Crockford base32 in lower case. Ids of one prefix sort by time of creation.
package typeid

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

const (
	alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	size     = 26
)

// New makes a fresh UUIDv7 under the prefix. It panics when the system has no randomness left.
func New(prefix string) string {
	return Format(prefix, uuid.Must(uuid.NewV7()))
}

// Format writes id under the prefix.
func Format(prefix string, id uuid.UUID) string {
	var out [size]byte
	// 130 bits in groups of five; the first two bits are zero.
	acc, bits, pos := uint16(0), 2, 0
	for _, b := range id {
		acc = acc<<8 | uint16(b)
		bits += 8
		for bits >= 5 {
			bits -= 5
			out[pos] = alphabet[acc>>bits&31]
			pos++
		}
		acc &= 1<<bits - 1
	}
	return prefix + "_" + string(out[:])
}

// Parse reads an id of the prefix back. Only the form that Format writes is accepted.
func Parse(prefix, s string) (uuid.UUID, error) {
	rest, ok := strings.CutPrefix(s, prefix+"_")
	if !ok || len(rest) != size || rest[0] > '7' {
		return uuid.UUID{}, fmt.Errorf("want %s_ and %d characters of base32", prefix, size)
	}
	var id uuid.UUID
	acc, bits, pos := uint16(0), -2, 0
	for i := range size {
		v := strings.IndexByte(alphabet, rest[i])
		if v < 0 {
			return uuid.UUID{}, fmt.Errorf("character %d of the %s id is not base32", i+1, prefix)
		}
		acc = acc<<5 | uint16(v)
		bits += 5
		if bits >= 8 {
			bits -= 8
			id[pos] = byte(acc >> bits)
			pos++
			acc &= 1<<bits - 1
		}
	}
	return id, nil
}

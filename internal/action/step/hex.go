package step

import (
	"encoding/hex"
	"strings"

	"github.com/avalhq/aval/internal/problem"
)

// hexBytes is a byte string written as 0x and hex digits.
type hexBytes []byte

// UnmarshalText reads the written form.
func (b *hexBytes) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), "0x")
	raw, err := hex.DecodeString(digits)
	if err != nil || (!ok && len(text) > 0) {
		return problem.New(problem.Invalid, "message-invalid", "the data is not 0x and hex digits in pairs")
	}
	*b = raw
	return nil
}

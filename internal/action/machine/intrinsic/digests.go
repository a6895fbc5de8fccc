package intrinsic

import (
	"crypto/md5"  //nolint:gosec // States.Hash has it; nothing of Aval's own relies on it
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/avalhq/aval/internal/action/machine/value"
)

func (c *call) short(i int) (string, error) {
	s, err := c.text(i)
	if err == nil && utf8.RuneCountInString(s) > maxText {
		err = fmt.Errorf("argument %d has more than %d characters", i+1, maxText)
	}
	return s, err
}

func (c *call) encode() (any, error) {
	s, err := c.short(0)
	return base64.StdEncoding.EncodeToString([]byte(s)), err
}

func (c *call) decode() (any, error) {
	s, err := c.short(0)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("the argument is not Base64: %w", err)
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("the decoded bytes are not UTF-8 text")
	}
	return string(raw), nil
}

// hash of a string, or of the JSON of any other value.
func (c *call) hash() (any, error) {
	text, ok := c.arguments[0].(string)
	if !ok {
		raw, err := value.Encode(c.arguments[0], maxMade)
		if err != nil {
			return nil, err
		}
		text = string(raw)
	}
	if utf8.RuneCountInString(text) > maxText {
		return nil, fmt.Errorf("argument 1 has more than %d characters", maxText)
	}
	algorithm, err := c.text(1)
	if err != nil {
		return nil, err
	}
	var sum []byte
	switch data := []byte(text); algorithm {
	case "MD5":
		s := md5.Sum(data) //nolint:gosec // asked for by name
		sum = s[:]
	case "SHA-1":
		s := sha1.Sum(data) //nolint:gosec // asked for by name
		sum = s[:]
	case "SHA-256":
		s := sha256.Sum256(data)
		sum = s[:]
	case "SHA-384":
		s := sha512.Sum384(data)
		sum = s[:]
	case "SHA-512":
		s := sha512.Sum512(data)
		sum = s[:]
	default:
		return nil, errors.New("the algorithm must be MD5, SHA-1, SHA-256, SHA-384 or SHA-512")
	}
	return hex.EncodeToString(sum), nil
}

// add rounds to whole numbers first, as Step Functions does.
func (c *call) add() (any, error) {
	a, err := c.whole(0)
	if err != nil {
		return nil, err
	}
	b, err := c.whole(1)
	if err != nil {
		return nil, err
	}
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return nil, errors.New("the sum does not fit 64 bits")
	}
	return number(sum), nil
}

// random is from the first argument up to, and without, the second. With a seed it is the same every time.
func (c *call) random() (any, error) {
	from, err := c.whole(0)
	if err != nil {
		return nil, err
	}
	to, err := c.whole(1)
	if err != nil {
		return nil, err
	}
	if to <= from {
		return nil, errors.New("the end must be greater than the start")
	}
	draw := [16]byte{}
	if len(c.arguments) == 3 {
		seed, err := c.whole(2)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(seed)))
		copy(draw[:], sum[:])
	} else {
		draw = c.scope.Draw()
	}
	high, _ := bits.Mul64(binary.BigEndian.Uint64(draw[:]), uint64(to)-uint64(from))
	return number(int64(uint64(from) + high)), nil
}

// uuid is one of version 4.
func (c *call) uuid() (any, error) {
	id := uuid.UUID(c.scope.Draw())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id.String(), nil
}

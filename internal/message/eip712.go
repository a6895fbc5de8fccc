package message

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// Field is one member of an EIP-712 struct.
type Field struct {
	Name string `json:"name"`
	Type string `json:"type"` // atomic: string, address, uintN, bytes, bytesN, bool
}

// flat is an EIP-712 struct of atomic fields. It is encoded here and not by go-ethereum's apitypes, which serves nested
// types and takes several times as long; the tests hold the two against each other.
type flat struct {
	name     string
	fields   []Field
	encoders []encoder
	typeHash common.Hash
}

// encoder turns a value (string or bool) into the 32 bytes that stand for it.
type encoder func(v any) ([32]byte, error)

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)

func newFlat(name string, fields []Field) (*flat, error) {
	s := &flat{name: name, fields: fields}
	if !identifier.MatchString(name) {
		return nil, fmt.Errorf("the struct name %q is not an identifier", name)
	}
	members, seen := make([]string, len(fields)), map[string]bool{}
	for i, f := range fields {
		if !identifier.MatchString(f.Name) || seen[f.Name] {
			return nil, fmt.Errorf("field %d, %q: the name is not an identifier, or is there twice", i+1, f.Name)
		}
		enc, err := encoderOf(f.Type)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
		seen[f.Name] = true
		s.encoders = append(s.encoders, enc)
		members[i] = f.Type + " " + f.Name
	}
	s.typeHash = crypto.Keccak256Hash([]byte(name + "(" + strings.Join(members, ",") + ")"))
	return s, nil
}

// hash is hashStruct of EIP-712; values are in the order of the fields.
func (s *flat) hash(values []any) (common.Hash, error) {
	buf := make([]byte, 32, 32*(len(values)+1))
	copy(buf, s.typeHash[:])
	for i, encode := range s.encoders {
		word, err := encode(values[i])
		if err != nil {
			return common.Hash{}, fmt.Errorf("%s: %w", s.fields[i].Name, err)
		}
		buf = append(buf, word[:]...)
	}
	return crypto.Keccak256Hash(buf), nil
}

// encoderOf finds the encoding of an atomic type.
func encoderOf(typ string) (encoder, error) {
	switch typ {
	case "string":
		return encodeString, nil
	case "bytes":
		return encodeBytes, nil
	case "bool":
		return encodeBool, nil
	case "address":
		return encodeAddress, nil
	}
	if bits, ok := sizeOf(typ, "uint"); ok && bits%8 == 0 && bits <= 256 {
		return encodeUint(bits), nil
	}
	if size, ok := sizeOf(typ, "bytes"); ok && size <= 32 {
		return encodeFixed(size), nil
	}
	return nil, fmt.Errorf("the type %q is not one of string, address, bool, bytes, uint8…uint256, bytes1…bytes32", typ)
}

// sizeOf reads the number in "uint256", in the one way of writing it.
func sizeOf(typ, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(typ, prefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && strconv.Itoa(n) == digits
}

var errNotText = errors.New("must be a string")

func encodeString(v any) ([32]byte, error) {
	s, ok := v.(string)
	if !ok {
		return [32]byte{}, errNotText
	}
	return crypto.Keccak256Hash([]byte(s)), nil
}

func encodeBytes(v any) ([32]byte, error) {
	b, err := decodeHex(v)
	if err != nil {
		return [32]byte{}, err
	}
	return crypto.Keccak256Hash(b), nil
}

func encodeBool(v any) (word [32]byte, err error) {
	b, ok := v.(bool)
	if !ok {
		return word, errors.New("must be true or false")
	}
	if b {
		word[31] = 1
	}
	return word, nil
}

func encodeAddress(v any) (word [32]byte, err error) {
	b, err := decodeHex(v)
	if err != nil || len(b) != common.AddressLength {
		return word, errors.New("must be an address: 0x and 40 hexadecimal digits")
	}
	copy(word[12:], b)
	return word, nil
}

func encodeUint(bits int) encoder {
	return func(v any) (word [32]byte, err error) {
		s, ok := v.(string)
		if !ok {
			return word, errNotText
		}
		n, err := parseUint(s)
		if err != nil {
			return word, err
		}
		if n.BitLen() > bits {
			return word, fmt.Errorf("must be less than 2^%d", bits)
		}
		return n.Bytes32(), nil
	}
}

func encodeFixed(size int) encoder {
	return func(v any) (word [32]byte, err error) {
		b, err := decodeHex(v)
		if err != nil || len(b) != size {
			return word, fmt.Errorf("must be %d bytes: 0x and %d hexadecimal digits", size, 2*size)
		}
		copy(word[:], b)
		return word, nil
	}
}

func decodeHex(v any) ([]byte, error) {
	s, ok := v.(string)
	if !ok {
		return nil, errNotText
	}
	if err := checkHex(s); err != nil {
		return nil, err
	}
	return hex.DecodeString(s[2:])
}

// Package value is JSON in memory with exact numbers: what the state machine's paths and functions work on.
//
// A value is nil, bool, string, json.Number, []any or map[string]any. A number is the digits that were written: it is never
// turned into a float, so one that is only passed through leaves as it came. Values are immutable: whoever changes one copies
// what it changes, as parts are shared. Objects are written and walked in the order of their keys.
//
// Nothing here panics on any input. Deep nesting is refused when read, and writing stops at a limit: a value that holds
// itself many times over is small in memory and long when written.
package value

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
)

// ErrLimit says that a value is longer than allowed.
var ErrLimit = errors.New("the value is longer than allowed")

// Encode writes a value as JSON of at most limit bytes; beyond, the error is ErrLimit.
func Encode(v any, limit int) (json.RawMessage, error) {
	return appendTo(make([]byte, 0, 128), v, limit)
}

func appendTo(b []byte, v any, limit int) (_ []byte, err error) {
	if len(b) > limit {
		return nil, ErrLimit
	}
	switch v := v.(type) {
	case nil:
		b = append(b, "null"...)
	case bool:
		b = fmt.Appendf(b, "%t", v)
	case string:
		b = appendString(b, v)
	case json.Number:
		b = append(b, v...)
	case []any:
		b, err = appendList(b, v, limit)
	case map[string]any:
		b, err = appendObject(b, v, limit)
	default:
		return nil, fmt.Errorf("a %T is not a JSON value", v)
	}
	if err == nil && len(b) > limit {
		return nil, ErrLimit
	}
	return b, err
}

func appendList(b []byte, list []any, limit int) (_ []byte, err error) {
	b = append(b, '[')
	for i, item := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendTo(b, item, limit); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, object map[string]any, limit int) (_ []byte, err error) {
	b = append(b, '{')
	var few [16]string
	for i, key := range keysInto(few[:0], object) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		if b, err = appendTo(b, object[key], limit); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func keysInto(keys []string, object map[string]any) []string {
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Keys of an object, in order.
func Keys(object map[string]any) []string { return slices.Sorted(maps.Keys(object)) }

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// Equal is deep equality, in which 1, 1.0 and 1e0 are one number.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		other, ok := b.(json.Number)
		return ok && (a == other || Compare(a, other) == 0)
	case []any:
		other, ok := b.([]any)
		return ok && slices.EqualFunc(a, other, Equal)
	case map[string]any:
		other, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, other, Equal)
	case nil, bool, string:
		return a == b
	}
	return false
}

// Compare orders two numbers: -1, 0 or 1. Numbers beyond 10^100000 in size are ordered by their text.
func Compare(a, b json.Number) int {
	x, errX := number(a)
	y, errY := number(b)
	if errX != nil || errY != nil {
		return strings.Compare(string(a), string(b))
	}
	return x.Cmp(y)
}

func number(n json.Number) (*apd.Decimal, error) {
	d, _, err := apd.NewFromString(string(n))
	if err != nil {
		return nil, fmt.Errorf("%s is not a number that can be compared: %w", n, err)
	}
	return d, nil
}

// Integer gives a number that is whole, 1.0 and 1e3 also, and fits 64 bits.
func Integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	d, err := number(n)
	if err != nil || d.Exponent > 18 {
		return 0, false
	}
	whole, err := d.Int64()
	return whole, err == nil
}

// Rounded gives the whole number nearest to a number, halves upwards as Java's Math.round does.
func Rounded(v any) (int64, bool) {
	if whole, ok := Integer(v); ok {
		return whole, true
	}
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	d, err := number(n)
	if err != nil || d.NumDigits()+int64(d.Exponent) > 19 {
		return 0, false
	}
	if d.NumDigits()+int64(d.Exponent) < 0 {
		return 0, true
	}
	context := apd.Context{Precision: uint32(d.NumDigits()) + 2, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent}
	if _, err := context.Add(d, d, apd.New(5, -1)); err != nil {
		return 0, false
	}
	if _, err := context.Floor(d, d); err != nil {
		return 0, false
	}
	whole, err := d.Int64()
	return whole, err == nil
}

// Kind names the type of a value, for messages to people.
func Kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

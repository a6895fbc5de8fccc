package message

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxSize  = 64 << 10 // bytes of a submission
	maxDepth = 16       // objects and arrays inside each other
	maxExact = 1 << 53  // integers up to here survive a double, so RFC 8785 holds them exactly
)

// syntaxError says where a document leaves strict JSON. It names keys, never values.
type syntaxError struct {
	offset int // bytes
	reason string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("at byte %d: %s", e.offset, e.reason)
}

// parseStrict decodes one JSON document into map[string]any, []any, string, bool, json.Number and nil. It accepts less
// than encoding/json does, so that two readers never see two documents in the same bytes: UTF-8 without lone surrogates,
// no key twice in an object, integers within ±2^53 only, limited depth and size, nothing after the value.
func parseStrict(data []byte) (any, error) {
	p := &parser{data: data}
	if len(data) > maxSize {
		return nil, p.fail("the document is larger than %d bytes", maxSize)
	}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(data) {
		return nil, p.fail("something follows the document")
	}
	return v, nil
}

type parser struct {
	data []byte
	pos  int
}

func (p *parser) fail(format string, args ...any) error {
	return &syntaxError{offset: p.pos, reason: fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return
		}
	}
}

// peek is the next byte after white space, 0 at the end.
func (p *parser) peek() byte {
	if p.space(); p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

// take consumes c when it is next.
func (p *parser) take(c byte) bool {
	if p.peek() != c || p.pos == len(p.data) {
		return false
	}
	p.pos++
	return true
}

func (p *parser) value(depth int) (any, error) {
	c := p.peek()
	switch {
	case (c == '{' || c == '[') && depth == maxDepth:
		return nil, p.fail("objects and arrays are nested deeper than %d", maxDepth)
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return p.literal()
}

func (p *parser) object(depth int) (any, error) {
	p.pos++
	out := make(map[string]any, 8)
	if p.take('}') {
		return out, nil
	}
	for {
		if p.peek() != '"' {
			return nil, p.fail("a key in double quotes is missing")
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice {
			return nil, p.fail("the key %s is there twice", quote(key))
		}
		if !p.take(':') {
			return nil, p.fail("a colon is missing after a key")
		}
		if out[key], err = p.value(depth); err != nil {
			return nil, err
		}
		if p.take('}') {
			return out, nil
		}
		if !p.take(',') {
			return nil, p.fail("a comma or the end of the object is missing")
		}
	}
}

func (p *parser) array(depth int) (any, error) {
	p.pos++
	out := []any{}
	if p.take(']') {
		return out, nil
	}
	for {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if p.take(']') {
			return out, nil
		}
		if !p.take(',') {
			return nil, p.fail("a comma or the end of the array is missing")
		}
	}
}

func (p *parser) literal() (any, error) {
	for _, l := range [...]struct {
		text  string
		value any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if rest := p.data[p.pos:]; len(rest) >= len(l.text) && string(rest[:len(l.text)]) == l.text {
			p.pos += len(l.text)
			return l.value, nil
		}
	}
	return nil, p.fail("a value is missing")
}

func (p *parser) number() (any, error) {
	start := p.pos
	if p.data[p.pos] == '-' {
		p.pos++
	}
	digits := p.pos
	for p.pos < len(p.data) && p.data[p.pos] >= '0' && p.data[p.pos] <= '9' {
		p.pos++
	}
	if p.pos == digits || p.data[digits] == '0' && p.pos > digits+1 {
		return nil, p.fail("a number is malformed")
	}
	if p.pos < len(p.data) && (p.data[p.pos] == '.' || p.data[p.pos]|0x20 == 'e') {
		return nil, p.fail("numbers must be integers; write amounts as decimal strings")
	}
	if n, err := strconv.ParseInt(string(p.data[digits:p.pos]), 10, 64); err != nil || n > maxExact {
		return nil, p.fail("a number is beyond 2^53; write large numbers as decimal strings")
	}
	if string(p.data[start:p.pos]) == "-0" {
		return nil, p.fail("a number is malformed")
	}
	return json.Number(p.data[start:p.pos]), nil
}

// text reads a string; the plain ones, nearly all, without copying byte by byte.
func (p *parser) text() (string, error) {
	start := p.pos + 1
	for i := start; i < len(p.data); i++ {
		switch c := p.data[i]; {
		case c == '"':
			if !utf8.Valid(p.data[start:i]) {
				return "", p.fail("a string is not UTF-8")
			}
			p.pos = i + 1
			return string(p.data[start:i]), nil
		case c == '\\':
			return p.escaped(start, i)
		case c < ' ':
			return "", p.fail("a string holds a bare control character")
		}
	}
	return "", p.fail("a string has no end")
}

// escaped goes on with a string that began at start and has its first escape at i.
func (p *parser) escaped(start, i int) (string, error) {
	out := append(make([]byte, 0, 2*(i-start)+16), p.data[start:i]...)
	for p.pos = i; p.pos < len(p.data); {
		switch c := p.data[p.pos]; {
		case c == '"':
			if !utf8.Valid(out) {
				return "", p.fail("a string is not UTF-8")
			}
			p.pos++
			return string(out), nil
		case c < ' ':
			return "", p.fail("a string holds a bare control character")
		case c != '\\':
			out = append(out, c)
			p.pos++
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", p.fail("a string has no end")
}

// escape reads one escape sequence, or two that are a surrogate pair.
func (p *parser) escape() (rune, error) {
	if p.pos+1 < len(p.data) {
		if r, ok := shortEscape(p.data[p.pos+1]); ok {
			p.pos += 2
			return r, nil
		}
	}
	first, ok := p.unit()
	if !ok {
		return 0, p.fail("a string holds an unknown escape")
	}
	if !utf16.IsSurrogate(first) {
		return first, nil
	}
	second, ok := p.unit()
	r := utf16.DecodeRune(first, second)
	if !ok || r == utf8.RuneError {
		return 0, p.fail("a string holds half of a surrogate pair")
	}
	return r, nil
}

func shortEscape(c byte) (rune, bool) {
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

// unit reads \uXXXX.
func (p *parser) unit() (rune, bool) {
	if p.pos+6 > len(p.data) || p.data[p.pos] != '\\' || p.data[p.pos+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.data[p.pos+2:p.pos+6]), 16, 16)
	if err != nil {
		return 0, false
	}
	p.pos += 6
	return rune(n), true
}

// quote shows a key of the sender's in an error: escaped, and short.
func quote(key string) string {
	if len(key) > 40 {
		return strconv.QuoteToASCII(key[:40]) + "…"
	}
	return strconv.QuoteToASCII(key)
}

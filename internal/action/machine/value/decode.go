package value

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const maxDepth = 1000 // of objects and arrays within one another

// Decode reads one JSON value. It takes what package json takes, up to a depth of 1000, and keeps the last of equal keys.
func Decode(raw []byte) (any, error) {
	d := decoder{text: string(raw)}
	v, err := d.value(0)
	if err == nil {
		if d.spaces(); d.at < len(d.text) {
			err = errors.New("there is more after the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON, at byte %d: %w", d.at+1, err)
	}
	return v, nil
}

// decoder reads a text; the strings and numbers in what it gives are parts of that text where they can be.
type decoder struct {
	text string
	at   int
}

func (d *decoder) spaces() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// next goes past spaces and gives the byte that follows; 0 at the end.
func (d *decoder) next() byte {
	d.spaces()
	if d.at == len(d.text) {
		return 0
	}
	return d.text[d.at]
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	switch c := d.next(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.list(depth)
	case c == '"':
		return d.string()
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	for _, word := range words {
		if end := d.at + len(word.text); end <= len(d.text) && d.text[d.at:end] == word.text {
			d.at = end
			return word.value, nil
		}
	}
	return nil, errors.New("a value is missing")
}

var words = [...]struct {
	text  string
	value any
}{{"true", true}, {"false", false}, {"null", nil}}

func (d *decoder) object(depth int) (any, error) {
	object := map[string]any{}
	d.at++
	if d.next() == '}' {
		d.at++
		return object, nil
	}
	for {
		if d.next() != '"' {
			return nil, errors.New("a name in quotes is missing")
		}
		key, err := d.string()
		if err != nil {
			return nil, err
		}
		if d.next() != ':' {
			return nil, errors.New("a colon is missing")
		}
		d.at++
		if object[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		switch d.next() {
		case ',':
			d.at++
		case '}':
			d.at++
			return object, nil
		default:
			return nil, errors.New("an object is not closed")
		}
	}
}

func (d *decoder) list(depth int) (any, error) {
	list := []any{}
	d.at++
	if d.next() == ']' {
		d.at++
		return list, nil
	}
	for {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
		switch d.next() {
		case ',':
			d.at++
		case ']':
			d.at++
			return list, nil
		default:
			return nil, errors.New("an array is not closed")
		}
	}
}

func (d *decoder) digits() bool {
	from := d.at
	for d.at < len(d.text) && d.text[d.at] >= '0' && d.text[d.at] <= '9' {
		d.at++
	}
	return d.at > from
}

// take goes past one of the bytes when one comes next.
func (d *decoder) take(bytes string) bool {
	if d.at < len(d.text) && strings.IndexByte(bytes, d.text[d.at]) >= 0 {
		d.at++
		return true
	}
	return false
}

var errNumber = errors.New("a number is not written as JSON writes it")

func (d *decoder) number() (any, error) {
	from := d.at
	d.take("-")
	if !d.take("0") && !d.digits() {
		return nil, errNumber
	}
	if d.take(".") && !d.digits() {
		return nil, errNumber
	}
	if d.take("eE") {
		d.take("+-")
		if !d.digits() {
			return nil, errNumber
		}
	}
	return json.Number(d.text[from:d.at]), nil
}

func (d *decoder) string() (string, error) {
	d.at++
	from := d.at
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '"':
			d.at++
			return valid(d.text[from : d.at-1]), nil
		case c == '\\':
			return d.escaped(from)
		case c < ' ':
			return "", errors.New("a control character stands in a string")
		}
	}
	return "", errors.New("a string is not closed")
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// escaped reads a string that began at from and has escapes.
func (d *decoder) escaped(from int) (string, error) {
	b := []byte(d.text[from:d.at])
	for d.at < len(d.text) {
		c := d.text[d.at]
		switch {
		case c == '"':
			d.at++
			return valid(string(b)), nil
		case c < ' ':
			return "", errors.New("a control character stands in a string")
		case c != '\\':
			b = append(b, c)
			d.at++
		default:
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
		}
	}
	return "", errors.New("a string is not closed")
}

func (d *decoder) escape() (rune, error) {
	if d.at+1 >= len(d.text) {
		return 0, errors.New("a string is not closed")
	}
	c := d.text[d.at+1]
	d.at += 2
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return d.unicode()
	}
	return 0, errors.New("a backslash stands before what it cannot escape")
}

func (d *decoder) unicode() (rune, error) {
	r, ok := d.hex(d.at)
	if !ok {
		return 0, errors.New("four hexadecimal digits are missing")
	}
	d.at += 4
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if d.at+6 <= len(d.text) && d.text[d.at:d.at+2] == `\u` {
		if low, ok := d.hex(d.at + 2); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				d.at += 6
				return pair, nil
			}
		}
	}
	return utf8.RuneError, nil
}

func (d *decoder) hex(at int) (rune, bool) {
	if at+4 > len(d.text) || d.text[at] == '+' || d.text[at] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(d.text[at:at+4], 16, 16)
	return rune(n), err == nil
}

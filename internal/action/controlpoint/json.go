package controlpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const maxDepth = 64 // objects and arrays within one another

// parse reads one JSON value strictly, so that two readers never see two values in the same bytes: UTF-8, no key twice in
// an object, a limited depth, nothing after the value. Numbers keep their digits. An error names keys and never values.
func parse(raw []byte) (any, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("it is not JSON, at byte %d", d.InputOffset())
	}
	open, nested := token.(json.Delim)
	switch {
	case !nested:
		return token, nil
	case depth == maxDepth:
		return nil, fmt.Errorf("objects and arrays are nested deeper than %d", maxDepth)
	case open == '[':
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, closing(d)
	}
	object := map[string]any{}
	for d.More() {
		key, err := d.Token()
		name, text := key.(string)
		if err != nil || !text {
			return nil, fmt.Errorf("it is not JSON, at byte %d", d.InputOffset())
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("the key %.40q is there twice", name)
		}
		if object[name], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return object, closing(d)
}

func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("it is not JSON, at byte %d", d.InputOffset())
	}
	return nil
}

// encode writes a JSON value as it is, without escapes for HTML.
func encode(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("it cannot be JSON: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

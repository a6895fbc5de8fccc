package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// parse gives the nodes of a definition with their lines. JSON is read as JSON: YAML does not take all of it, and is slower.
func parse(source []byte) (*yaml.Node, error) {
	if json.Valid(source) {
		d := &jsonSource{source: source, decoder: json.NewDecoder(bytes.NewReader(source)), line: 1}
		d.decoder.UseNumber()
		return d.node()
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil {
		return nil, fmt.Errorf("it is not YAML or JSON: %w", err)
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("it is empty")
	}
	return doc.Content[0], nil
}

// JSON gives the JSON of a text in YAML or JSON; numbers keep their digits.
func JSON(source []byte) (json.RawMessage, error) {
	doc, err := parse(source)
	if err != nil {
		return nil, err
	}
	l := &loader{}
	v := l.constant(doc)
	if len(l.mistakes) > 0 {
		return nil, errors.Join(l.mistakes...)
	}
	return value.Encode(v, len(source)*6+64)
}

// jsonSource reads valid JSON into nodes.
type jsonSource struct {
	source  []byte
	decoder *json.Decoder
	at      int // up to where lines were counted
	start   int // where that line begins
	line    int
}

// token gives the next token and a node that stands where the token does.
func (d *jsonSource) token() (json.Token, *yaml.Node, error) {
	token, err := d.decoder.Token()
	if err != nil {
		return nil, nil, fmt.Errorf("it is not JSON: %w", err)
	}
	end := int(d.decoder.InputOffset())
	for ; d.at < end; d.at++ {
		if d.source[d.at] == '\n' {
			d.line, d.start = d.line+1, d.at+1
		}
	}
	return token, &yaml.Node{Kind: yaml.ScalarNode, Line: d.line, Column: max(end-d.start, 1)}, nil
}

func (d *jsonSource) node() (*yaml.Node, error) {
	token, n, err := d.token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		return d.parts(n, v)
	case string:
		n.Tag, n.Value, n.Style = "!!str", v, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!int", v.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(v)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

func (d *jsonSource) parts(n *yaml.Node, open json.Delim) (*yaml.Node, error) {
	n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	if open == '{' {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	for d.decoder.More() {
		part, err := d.node()
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, part)
	}
	_, _, err := d.token()
	return n, err
}

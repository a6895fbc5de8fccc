package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// maxSource bounds a definition, as Step Functions does.
const maxSource = 1 << 20

// parse gives the nodes of a definition with their places. JSON is read as JSON: YAML does not take all of it, and is slower.
func parse(source []byte) (*yaml.Node, *Finding) {
	if len(source) > maxSource {
		return nil, &Finding{Line: 1, Column: 1, Text: fmt.Sprintf("it has %d bytes; a definition has %d at most", len(source), maxSource)}
	}
	if json.Valid(source) {
		d := &jsonSource{source: source, decoder: json.NewDecoder(bytes.NewReader(source)), line: 1}
		d.decoder.UseNumber()
		n, err := d.node()
		if err != nil {
			return nil, &Finding{Line: d.line, Column: 1, Text: err.Error()}
		}
		return n, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil {
		return nil, malformed(source, err)
	}
	if len(doc.Content) != 1 {
		return nil, &Finding{Line: 1, Column: 1, Text: "it is empty; a workflow has StartAt and States"}
	}
	return doc.Content[0], nil
}

// malformed says where a text stops being YAML, or JSON where it looks as if it were meant to be.
func malformed(source []byte, err error) *Finding {
	f := &Finding{Line: 1, Column: 1, Text: fmt.Sprintf("it is not YAML or JSON: %v", err)}
	var syntax *json.SyntaxError
	var v any
	if text := bytes.TrimSpace(source); len(text) > 0 && (text[0] == '{' || text[0] == '[') && errors.As(json.Unmarshal(source, &v), &syntax) {
		before := source[:max(syntax.Offset-1, 0)]
		f.Line = 1 + bytes.Count(before, []byte("\n"))
		f.Column = 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
		f.Text = fmt.Sprintf("it is not JSON: %v", syntax)
		return f
	}
	// The YAML library tells the line in its text alone.
	if _, err := fmt.Sscanf(err.Error(), "yaml: line %d:", &f.Line); err != nil {
		f.Line = 1
	}
	return f
}

// JSON gives the JSON of a text in YAML or JSON; numbers keep their digits.
func JSON(source []byte) (json.RawMessage, error) {
	doc, fault := parse(source)
	if fault != nil {
		return nil, Findings{*fault}
	}
	l := &loader{}
	v := l.constant(doc)
	if len(l.found) > 0 {
		return nil, l.found
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

// token gives the next token and a node that stands where the token begins.
func (d *jsonSource) token() (json.Token, *yaml.Node, error) {
	token, err := d.decoder.Token()
	if err != nil {
		return nil, nil, fmt.Errorf("it is not JSON: %w", err)
	}
	for d.at < len(d.source) && strings.IndexByte(" \t\r\n,:", d.source[d.at]) >= 0 {
		d.count()
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: d.line, Column: 1 + utf8.RuneCount(d.source[d.start:d.at])}
	for end := int(d.decoder.InputOffset()); d.at < end; {
		d.count()
	}
	return token, n, nil
}

func (d *jsonSource) count() {
	if d.source[d.at] == '\n' {
		d.line, d.start = d.line+1, d.at+1
	}
	d.at++
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

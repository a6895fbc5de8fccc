package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gowebpki/jcs"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// messageType is one compiled file of the catalog.
type messageType struct {
	name   string
	source json.RawMessage
	schema *jsonschema.Schema
	flat   *flat          // the envelope's fields, then the body's
	body   []property     // in the order of the struct
	types  map[string]any // what "types" of a typed-data document has to be
	typed  []byte         // the same in its RFC 8785 form
	call   *declaration   // nil for types without call data
}

// property is a member of the body.
type property struct {
	Field
	optional  bool
	canonical func(string) string // of its format; nil when its text is taken as it is
	width     encoder             // of uintN and bytesN, which a schema cannot say; nil for other types
}

// envelopeFields are the struct members that every message type begins with.
func envelopeFields() []Field {
	return []Field{{"id", "string"}, {"type", "string"}, {"client", "string"}, {"chain", "string"}, {"expires", "uint64"}}
}

// document is what the catalog reads of a schema file; the rest is the schema compiler's.
type document struct {
	Schema               string                     `json:"$schema"`
	Type                 string                     `json:"type"`
	AdditionalProperties *bool                      `json:"additionalProperties"`
	Required             []string                   `json:"required"`
	Properties           map[string]json.RawMessage `json:"properties"`
	Struct               json.RawMessage            `json:"x-eip712"`
	Call                 *declaration               `json:"x-calldata"`
}

func newMessageType(name string, source []byte) (*messageType, error) {
	if !typeName.MatchString(name) {
		return nil, errors.New(`the file name is not a message type: want a name, ".v" and a number, for example transfer.v1.json`)
	}
	tree, err := parseStrict(source)
	if err != nil {
		return nil, err
	}
	var doc document
	if err := json.Unmarshal(source, &doc); err != nil {
		return nil, err
	}
	if err := doc.check(); err != nil {
		return nil, err
	}
	t := &messageType{name: name, source: source}
	if t.schema, err = compile(name, tree); err != nil {
		return nil, err
	}
	if err := t.addStruct(doc); err != nil {
		return nil, fmt.Errorf("x-eip712: %w", err)
	}
	if t.call = doc.Call; t.call != nil {
		if err := t.call.check(t.body); err != nil {
			return nil, fmt.Errorf("x-calldata: %w", err)
		}
	}
	return t, nil
}

func (d document) check() error {
	switch {
	case d.Schema != "https://json-schema.org/draft/2020-12/schema":
		return errors.New("$schema: want https://json-schema.org/draft/2020-12/schema")
	case d.Type != "object":
		return errors.New(`type: want "object"`)
	case d.AdditionalProperties == nil || *d.AdditionalProperties:
		return errors.New("additionalProperties: want false, so that everything in a body is signed")
	case len(d.Struct) == 0:
		return errors.New("x-eip712: missing; it gives the EIP-712 struct of the message type")
	}
	for _, name := range d.Required {
		if _, ok := d.Properties[name]; !ok {
			return fmt.Errorf("required: there is no property %q", name)
		}
	}
	return nil
}

func (t *messageType) addStruct(doc document) error {
	var annotation struct {
		Name   string  `json:"name"`
		Fields []Field `json:"fields"`
	}
	dec := json.NewDecoder(bytes.NewReader(doc.Struct))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&annotation); err != nil {
		return err
	}
	if annotation.Name == domainType {
		return fmt.Errorf("name: %s is taken by EIP-712", domainType)
	}
	all := append(envelopeFields(), annotation.Fields...)
	var err error
	if t.flat, err = newFlat(annotation.Name, all); err != nil {
		return err
	}
	for _, f := range annotation.Fields {
		p, err := t.property(f, doc)
		if err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		t.body = append(t.body, p)
	}
	for name := range doc.Properties {
		if !slices.ContainsFunc(annotation.Fields, func(f Field) bool { return f.Name == name }) {
			return fmt.Errorf("the property %q is not a field of the struct, so it would not be signed", name)
		}
	}
	t.types = map[string]any{domainType: tree(domainFields()), annotation.Name: tree(all)}
	t.typed, err = canonicalJSON(t.types)
	return err
}

// property checks that a struct field and its schema agree.
func (t *messageType) property(f Field, doc document) (property, error) {
	p := property{Field: f, optional: !slices.Contains(doc.Required, f.Name)}
	raw, ok := doc.Properties[f.Name]
	if !ok {
		return p, errors.New("there is no property of that name")
	}
	var schema struct {
		Type    string `json:"type"`
		Format  string `json:"format"`
		Default any    `json:"default"`
	}
	err := json.Unmarshal(raw, &schema)
	if err != nil {
		return p, err
	}
	wantType, wantFormats, zero := jsonForm(f.Type)
	compiled := t.schema.Properties[f.Name]
	switch {
	case schema.Type != wantType:
		return p, fmt.Errorf("the EIP-712 type %s wants the JSON type %q", f.Type, wantType)
	case schema.Format != "" && compiled.Format == nil:
		return p, fmt.Errorf("nobody knows the format %q", schema.Format)
	case len(wantFormats) > 0 && !slices.Contains(wantFormats, schema.Format):
		return p, fmt.Errorf("the EIP-712 type %s wants the format %s", f.Type, strings.Join(wantFormats, " or "))
	case p.optional && zero == nil:
		return p, fmt.Errorf("the EIP-712 type %s has no value for a field left out: make it required", f.Type)
	case p.optional && schema.Default != zero:
		return p, fmt.Errorf("it is optional: want the default %#v, which is what its field holds when it is left out", zero)
	case p.optional && compiled.Validate(zero) != nil:
		return p, fmt.Errorf("it is optional, and the schema refuses its default %#v", zero)
	}
	if strings.HasPrefix(f.Type, "uint") || strings.HasPrefix(f.Type, "bytes") && f.Type != "bytes" {
		if p.width, err = encoderOf(f.Type); err != nil {
			return p, err
		}
	}
	for _, known := range formats() {
		if known.name == schema.Format {
			p.canonical = known.canonical
		}
	}
	return p, nil
}

// jsonForm is how an EIP-712 type stands in JSON: type, formats to choose from (none: any), and the value of a field left out.
func jsonForm(typ string) (jsonType string, formats []string, zero any) {
	switch {
	case typ == "bool":
		return "boolean", nil, false
	case typ == "string":
		return "string", nil, ""
	case typ == "address":
		return "string", []string{"evm-address"}, nil
	case typ == "bytes":
		return "string", []string{"hex-bytes"}, "0x"
	case strings.HasPrefix(typ, "bytes"):
		return "string", []string{"hex-bytes", "evm-selector"}, nil
	}
	return "string", []string{"uint256", "amount"}, "0"
}

// tree is the fields as parseStrict would give them.
func tree(fields []Field) []any {
	out := make([]any, len(fields))
	for i, f := range fields {
		out[i] = map[string]any{"name": f.Name, "type": f.Type}
	}
	return out
}

// complete brings a valid body to the one form in which Aval works with it: every property there, formats in their
// canonical notation, so that a rule that compares text cannot be passed by writing an address in another case.
func (t *messageType) complete(body map[string]any) map[string]any {
	out := make(map[string]any, len(t.body))
	for _, p := range t.body {
		v, there := body[p.Name]
		if !there {
			_, _, v = jsonForm(p.Type)
		}
		if s, ok := v.(string); ok && p.canonical != nil {
			v = p.canonical(s)
		}
		out[p.Name] = v
	}
	return out
}

// canonicalJSON is the RFC 8785 form of v.
func canonicalJSON(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(raw)
}

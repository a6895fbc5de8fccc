package expr

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// schema is what of a JSON Schema says something about types.
type schema struct {
	Type       any                `json:"type"`
	Ref        string             `json:"$ref"`
	Properties map[string]*schema `json:"properties"`
	Additional json.RawMessage    `json:"additionalProperties"`
	Items      json.RawMessage    `json:"items"`
	Enum       []any              `json:"enum"`
	Const      any                `json:"const"`
	Format     string             `json:"format"`
	MaxLength  uint64             `json:"maxLength"`
	MaxItems   uint64             `json:"maxItems"`
	Defs       map[string]*schema `json:"$defs"`
	AnyOf      []json.RawMessage  `json:"anyOf"`
	OneOf      []json.RawMessage  `json:"oneOf"`
	AllOf      []json.RawMessage  `json:"allOf"`
}

// How deep, and into how many parts, a schema is looked into: one that refers to itself has no end. What is beyond is dyn.
const (
	maxSchema = 16
	maxParts  = 5000
)

// reader goes through a schema.
type reader struct {
	defs  map[string]*schema
	parts int
}

// Schema reads what a JSON Schema tells of its values; name is theirs in messages. What it does not tell plainly (one of several
// schemas, a type of several) is dyn. Strings of the formats amount and uint256 are amounts.
func Schema(name string, source []byte) (*Type, error) {
	var s schema
	if err := json.Unmarshal(source, &s); err != nil {
		return nil, fmt.Errorf("the schema of %s is not one: %w", name, err)
	}
	return (&reader{defs: s.Defs}).value(&s, name, 0), nil
}

func (r *reader) value(s *schema, name string, depth int) *Type {
	r.parts++
	switch {
	case s == nil || r.parts > maxParts || depth > maxSchema || len(s.AnyOf)+len(s.OneOf)+len(s.AllOf) > 0:
		return Dyn()
	case s.Ref != "":
		def, local := strings.CutPrefix(s.Ref, "#/$defs/")
		if !local {
			return Dyn()
		}
		return r.value(r.defs[def], name, depth+1)
	}
	kind, nullable := s.kind()
	switch kind {
	case "object":
		return r.object(s, name, depth)
	case "array":
		element := r.value(part(s.Items), name+"[]", depth+1)
		return &Type{cel: cel.ListType(element.cel), element: element, size: s.MaxItems}
	case "string":
		return s.text(nullable)
	case "integer":
		return scalar(cel.IntType, nullable)
	case "number":
		return scalar(decType, false)
	case "boolean":
		return scalar(cel.BoolType, nullable)
	}
	return Dyn()
}

// kind is the one type that the schema allows, beside null.
func (s *schema) kind() (kind string, nullable bool) {
	var kinds []string
	switch t := s.Type.(type) {
	case string:
		kinds = []string{t}
	case []any:
		for _, one := range t {
			kind, _ := one.(string)
			kinds = append(kinds, kind)
		}
	}
	if i := slices.Index(kinds, "null"); i >= 0 {
		kinds, nullable = slices.Delete(kinds, i, i+1), true
	}
	if len(kinds) != 1 {
		return "", nullable
	}
	return kinds[0], nullable
}

func (r *reader) object(s *schema, name string, depth int) *Type {
	fields := map[string]*Type{}
	for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
		fields[field] = r.value(s.Properties[field], name+"."+field, depth+1)
	}
	closed := string(s.Additional) == "false"
	if len(fields) == 0 && !closed {
		return &Type{cel: cel.MapType(cel.StringType, r.value(part(s.Additional), name+"[]", depth+1).cel)}
	}
	return Object(name, fields, !closed)
}

func (s *schema) text(nullable bool) *Type {
	t := scalar(cel.StringType, nullable)
	t.size = s.MaxLength
	if s.Format == "amount" || s.Format == "uint256" {
		t.cel = amountType
		return t
	}
	for _, v := range s.Enum {
		if text, ok := v.(string); ok {
			t.values = append(t.values, text)
		}
	}
	if text, ok := s.Const.(string); ok {
		t.values = []string{text}
	}
	return t
}

func scalar(of *cel.Type, nullable bool) *Type {
	if nullable {
		return &Type{cel: cel.NullableType(of)}
	}
	return &Type{cel: of}
}

// part reads a schema within one, which may be true, false or absent.
func part(source json.RawMessage) *schema {
	var s schema
	if len(source) == 0 || source[0] != '{' || json.Unmarshal(source, &s) != nil {
		return nil
	}
	return &s
}

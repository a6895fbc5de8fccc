package machine

import (
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/intrinsic"
)

// payload is a JSON value in which the fields whose names end in ".$" are paths or intrinsic functions: a payload template.
type payload struct {
	constant any // when nothing in it is computed
	computed *intrinsic.Expr
	fields   map[string]*payload
	items    []*payload
}

// fixed tells whether the payload is a constant.
func (p *payload) fixed() bool { return p.computed == nil && p.fields == nil && p.items == nil }

// eval gives the value; what is constant in it is shared.
func (p *payload) eval(v *view) (any, error) {
	switch {
	case p.computed != nil:
		return p.computed.Eval(v, &v.cost)
	case p.fields != nil:
		object := make(map[string]any, len(p.fields))
		for _, name := range sorted(p.fields) {
			part, err := p.fields[name].eval(v)
			if err != nil {
				return nil, err
			}
			object[name] = part
		}
		return object, nil
	case p.items != nil:
		list := make([]any, len(p.items))
		for i, item := range p.items {
			part, err := item.eval(v)
			if err != nil {
				return nil, err
			}
			list[i] = part
		}
		return list, nil
	}
	return p.constant, nil
}

// payload reads a payload template.
func (l *loader) payload(n *yaml.Node) *payload {
	switch n.Kind {
	case yaml.MappingNode:
		return l.payloadObject(n)
	case yaml.SequenceNode:
		p, fixed := &payload{items: []*payload{}}, true
		list := []any{}
		for _, item := range n.Content {
			part := l.payload(item)
			p.items, list = append(p.items, part), append(list, part.constant)
			fixed = fixed && part.fixed()
		}
		if fixed {
			return &payload{constant: list}
		}
		return p
	}
	return &payload{constant: l.constant(n)}
}

func (l *loader) payloadObject(n *yaml.Node) *payload {
	p, fixed := &payload{fields: map[string]*payload{}}, true
	object := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		name, computed := strings.CutSuffix(key.Value, ".$")
		var part *payload
		if computed {
			part = &payload{computed: l.computed(key.Value, child)}
		} else {
			part = l.payload(child)
		}
		if p.fields[name] != nil {
			l.mistake(key, "the field %q stands here twice", name)
		}
		p.fields[name], object[name] = part, part.constant
		fixed = fixed && part.fixed()
	}
	if fixed {
		return &payload{constant: object}
	}
	return p
}

// computed reads a path or a call.
func (l *loader) computed(field string, n *yaml.Node) *intrinsic.Expr {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		l.mistake(n, "%s must be a string that holds a path or a call of an intrinsic function", field)
		return &intrinsic.Expr{}
	}
	e, err := intrinsic.Parse(n.Value)
	if err != nil {
		l.mistake(n, "%s: %v", field, err)
		return &intrinsic.Expr{}
	}
	return e
}

// constant reads a JSON value as it stands.
func (l *loader) constant(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			object[n.Content[i].Value] = l.constant(n.Content[i+1])
		}
		return object
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, l.constant(item))
		}
		return list
	case yaml.ScalarNode:
		return l.scalar(n)
	}
	l.mistake(n, "YAML aliases are not allowed")
	return nil
}

func (l *loader) scalar(n *yaml.Node) any {
	if n.Tag == "!!str" {
		return n.Value
	}
	var v any
	raw := l.literal(n)
	if raw == nil || json.Unmarshal(raw, &v) != nil {
		return nil
	}
	if _, number := v.(float64); number {
		return json.Number(raw)
	}
	return v
}

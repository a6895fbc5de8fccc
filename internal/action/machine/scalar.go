package machine

import (
	"encoding/json"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// What ASL assumes where a Retry does not say.
const (
	defaultInterval = time.Second
	defaultAttempts = 3
	defaultBackoff  = 2.0
)

// The readers of single fields. Each gives a function that reads a node into its target or notes a mistake.

func scalar[T any](l *loader, what string) func(*T) func(*yaml.Node) {
	return func(into *T) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if n.Kind != yaml.ScalarNode || n.Decode(into) != nil {
				l.mistake(n, "want %s", what)
			}
		}
	}
}

func (l *loader) text(into *string) func(*yaml.Node)    { return scalar[string](l, "a string")(into) }
func (l *loader) flag(into *bool) func(*yaml.Node)      { return scalar[bool](l, "true or false")(into) }
func (l *loader) number(into *float64) func(*yaml.Node) { return scalar[float64](l, "a number")(into) }

func (l *loader) whole(into *int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Decode(into) != nil || *into < 0 || *into > 99999999 {
			l.mistake(n, "want a whole number from 0 to 99999999")
		}
	}
}

func (l *loader) seconds(into *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var s int
		if n.Decode(&s) != nil || s < 1 || s > 99999999 {
			l.mistake(n, "want a whole number of seconds from 1 to 99999999")
		}
		*into = time.Duration(s) * time.Second
	}
}

// secondsOr reads a number of seconds, or an expression that gives one.
func (l *loader) secondsOr(into *time.Duration, computed **template) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.HasPrefix(strings.TrimSpace(n.Value), "{%") {
			*computed = l.value(n)
			return
		}
		l.seconds(into)(n)
	}
}

func (l *loader) list(each func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			l.mistake(n, "want a list")
			return
		}
		for _, item := range n.Content {
			each(item)
		}
	}
}

func (l *loader) texts(into *[]string) func(*yaml.Node) {
	return l.list(func(n *yaml.Node) {
		var s string
		l.text(&s)(n)
		*into = append(*into, s)
	})
}

func (l *loader) template(into **template) func(*yaml.Node) {
	return func(n *yaml.Node) { *into = l.value(n) }
}

// value reads a JSON value with expressions in it.
func (l *loader) value(n *yaml.Node) *template {
	t := &template{}
	constant := true
	switch n.Kind {
	case yaml.MappingNode:
		t.fields = map[string]*template{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			field := l.value(n.Content[i+1])
			t.fields[n.Content[i].Value] = field
			constant = constant && field.literal != nil
		}
	case yaml.SequenceNode:
		t.items = []*template{}
		for _, item := range n.Content {
			part := l.value(item)
			t.items = append(t.items, part)
			constant = constant && part.literal != nil
		}
	case yaml.ScalarNode:
		if n.Tag == "!!str" && strings.HasPrefix(strings.TrimSpace(n.Value), "{%") {
			return l.expression(n)
		}
	default:
		l.mistake(n, "YAML aliases are not allowed")
		return t
	}
	if !constant {
		return t
	}
	if raw := l.literal(n); raw != nil {
		if err := t.constant(raw); err != nil {
			l.mistake(n, "%v", err)
		}
	}
	return t
}

// literal is the JSON of a value without expressions; numbers keep their digits.
func (l *loader) literal(n *yaml.Node) json.RawMessage {
	if n.Tag == "!!int" || n.Tag == "!!float" {
		if json.Valid([]byte(n.Value)) {
			return json.RawMessage(n.Value)
		}
		l.mistake(n, "%s is not a number that JSON can hold; put it in quotes", n.Value)
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		l.mistake(n, "want a JSON value")
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		l.mistake(n, "want a JSON value")
	}
	return raw
}

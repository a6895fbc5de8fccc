package controlpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/expr"
)

// template is a JSON value in which strings of the form "{% … %}" are expressions, as in workflows.
type template struct {
	path     string
	constant any
	program  *expr.Program
	fields   map[string]*template
	items    []*template
}

// compiler makes templates whose expressions see the variables of its env.
type compiler struct {
	*decoder
	env *expr.Env
}

func newCompiler(d *decoder, variables ...string) (*compiler, error) {
	env, err := expr.NewEnv(variables...)
	return &compiler{d, env}, err
}

// template compiles what stands at a node; nil where there is none.
func (c *compiler) template(n *yaml.Node, path string) *template {
	t := &template{path: path}
	switch n.Kind {
	case 0:
		return nil
	case yaml.MappingNode:
		t.fields = map[string]*template{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if t.fields[key.Value] != nil {
				c.mistake(key, "%s is there twice", join(path, key.Value))
			}
			t.fields[key.Value] = c.template(n.Content[i+1], join(path, key.Value))
		}
	case yaml.SequenceNode:
		t.items = []*template{}
		for i, item := range n.Content {
			t.items = append(t.items, c.template(item, fmt.Sprintf("%s.%d", path, i)))
		}
	case yaml.ScalarNode:
		if n.Tag == "!!str" {
			c.text(t, n)
			break
		}
		t.constant = c.constant(n, path)
	default:
		c.mistake(n, "%s: YAML anchors and aliases are not read; write it out", path)
	}
	return t
}

// text is an expression between {% and %}, or stands for itself.
func (c *compiler) text(t *template, n *yaml.Node) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(n.Value), "{%")
	if ok {
		inner, ok = strings.CutSuffix(inner, "%}")
	}
	if !ok {
		t.constant = n.Value
		return
	}
	t.program = c.program(n, strings.TrimSpace(inner), t.path)
}

func (c *compiler) program(n *yaml.Node, source, path string) *expr.Program {
	p, err := c.env.Compile(source)
	var at *expr.Error
	switch {
	case errors.As(err, &at):
		c.mistake(n, "%s: in the expression, at %v", path, at)
	case err != nil:
		c.mistake(n, "%s: %v", path, err)
	}
	return p
}

// constant reads a JSON value as it stands; numbers keep their digits.
func (d *decoder) constant(n *yaml.Node, path string) any {
	var v any
	source, err := yaml.Marshal(n)
	if err == nil {
		source, err = machine.JSON(source)
	}
	if err == nil {
		v, err = parse(source)
	}
	if err != nil {
		d.mistake(n, "%s is not what JSON can hold: %v", path, err)
	}
	return v
}

// condition compiles a field that is one expression; nil where there is none.
func (c *compiler) condition(source, path string) *template {
	if source == "" {
		return nil
	}
	t := c.template(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: source, Line: c.places[path].Line, Column: c.places[path].Column}, path)
	if t.program == nil && len(c.mistakes) == 0 {
		c.wrong(path, "must be an expression between {%% and %%}")
	}
	return t
}

// value evaluates the template.
func (t *template) value(vars map[string]any) (any, error) {
	switch {
	case t.program != nil:
		v, err := t.program.Eval(vars)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.path, err)
		}
		return v, nil
	case t.fields != nil:
		object := make(map[string]any, len(t.fields))
		for _, name := range sorted(t.fields) {
			v, err := t.fields[name].value(vars)
			if err != nil {
				return nil, err
			}
			object[name] = v
		}
		return object, nil
	case t.items != nil:
		list := make([]any, len(t.items))
		for i, item := range t.items {
			v, err := item.value(vars)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	}
	return t.constant, nil
}

// encoded evaluates the template into JSON.
func (t *template) encoded(vars map[string]any) (json.RawMessage, error) {
	v, err := t.value(vars)
	if err != nil {
		return nil, err
	}
	return encode(v)
}

// string evaluates the template into a text: a string, a number, true or false.
func (t *template) string(vars map[string]any) (string, error) {
	v, err := t.value(vars)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("%s gives no text, number, true or false", t.path)
}

// holds evaluates a condition.
func (t *template) holds(vars map[string]any) (bool, error) {
	if t.program == nil {
		return false, fmt.Errorf("%s is no expression", t.path)
	}
	holds, err := t.program.Bool(vars)
	if err != nil {
		return false, fmt.Errorf("%s: %w", t.path, err)
	}
	return holds, nil
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/problem"
)

// Parse decodes YAML over c, strictly; name is the file's, for messages. It does not Validate, so that overrides can
// be applied first.
func Parse(c Config, name string, text []byte) (Config, error) {
	if err := decode(&c, text); err != nil {
		return Config{}, problem.New(problem.Invalid, "config-malformed", "%s: %w", name, err)
	}
	return c, nil
}

// Set overrides one field, named as in the file with dots ("chain.confirmations"), by a value written as there, without quotes.
func (c *Config) Set(field, value string) error {
	leaf := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	node := leaf
	for _, name := range slices.Backward(strings.Split(field, ".")) {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
		node = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, node}}
	}
	err := check(node, reflect.TypeOf(*c), "")
	if err == nil {
		if value == "" {
			leaf.Tag = "!!str" // not null, which would change nothing
		}
		err = node.Decode(c)
	}
	if err != nil {
		return problem.New(problem.Invalid, "config-malformed", "setting %s: %w", field, withoutLine(err))
	}
	return nil
}

func decode(c *Config, text []byte) error {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF): // empty, or comments alone
		return nil
	case err != nil:
		return plain(err)
	}
	if err := decoder.Decode(&yaml.Node{}); err == nil {
		return errors.New("there is more than one YAML document; join them into one")
	}
	root := document.Content[0]
	if err := check(root, reflect.TypeOf(*c), ""); err != nil {
		return err
	}
	if err := root.Decode(c); err != nil {
		return plain(err)
	}
	return nil
}

// check walks a mapping beside the struct that it will be decoded into, and refuses what has no field there.
func check(node *yaml.Node, into reflect.Type, path string) error {
	if into.Kind() == reflect.Map {
		return checkMap(node, into.Elem(), path)
	}
	if into.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode {
		return checkList(node, into.Elem(), path)
	}
	if into.Kind() != reflect.Struct {
		if node.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %s takes one value", node.Line, path)
		}
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s is a group of fields: %s", node.Line, or(path, "the file"), strings.Join(names(into), ", "))
	}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field, ok := fieldNamed(into, key.Value)
		if !ok {
			return fmt.Errorf("line %d: there is no field %s; %s", key.Line, join(path, key.Value), hint(into, path, key.Value))
		}
		if value.Tag == "!!null" {
			return fmt.Errorf("line %d: %s has no value; write one or remove the line", key.Line, join(path, key.Value))
		}
		if err := check(value, field.Type, join(path, key.Value)); err != nil {
			return err
		}
	}
	return nil
}

// checkList is check for a list.
func checkList(node *yaml.Node, into reflect.Type, path string) error {
	for i, element := range node.Content {
		if err := check(element, into, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// checkMap is check for a mapping whose keys are free.
func checkMap(node *yaml.Node, into reflect.Type, path string) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s takes names with their fields, or {}", node.Line, path)
	}
	for i := 0; i < len(node.Content); i += 2 {
		if err := check(node.Content[i+1], into, join(path, node.Content[i].Value)); err != nil {
			return err
		}
	}
	return nil
}

// plain makes one line of the decoder's errors and drops its prefix, which speaks of the library.
func plain(err error) error {
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		return errors.New(strings.Join(typed.Errors, "; "))
	}
	return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
}

// withoutLine removes the line number of an override, which has none.
func withoutLine(err error) error {
	return errors.New(strings.TrimPrefix(plain(err).Error(), "line 0: "))
}

func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == name {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func names(t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		all = append(all, t.Field(i).Tag.Get("yaml"))
	}
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

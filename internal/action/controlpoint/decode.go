package controlpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/nearest"
	"github.com/avalhq/aval/internal/problem"
)

// decoder reads YAML into structs and gathers mistakes, each with its line and column. The values that it has read are
// remembered with their nodes, so that what is wrong with them can be told in its place later.
type decoder struct {
	mistakes []error
	places   map[string]*yaml.Node // of each field, by its path: "targets.bank.url"
}

// decode reads one YAML document.
func (d *decoder) decode(source []byte, into any) {
	var document yaml.Node
	reader := yaml.NewDecoder(bytes.NewReader(source))
	switch err := reader.Decode(&document); {
	case errors.Is(err, io.EOF):
		d.mistakes = append(d.mistakes, errors.New("it is empty"))
		return
	case err != nil:
		d.mistakes = append(d.mistakes, fmt.Errorf("it is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: ")))
		return
	}
	if reader.Decode(&yaml.Node{}) == nil {
		d.mistakes = append(d.mistakes, errors.New("there is more than one YAML document; write one file for each control point"))
		return
	}
	d.places = map[string]*yaml.Node{"": document.Content[0]}
	d.value(document.Content[0], reflect.ValueOf(into).Elem(), "")
}

// mistake notes what is wrong at a node.
func (d *decoder) mistake(n *yaml.Node, format string, args ...any) {
	d.mistakes = append(d.mistakes, fmt.Errorf("line %d, column %d: %s", n.Line, n.Column, fmt.Sprintf(format, args...)))
}

// wrong notes what is wrong with a field, or with the one it is missing from.
func (d *decoder) wrong(path, format string, args ...any) {
	at := path
	for d.places[at] == nil && at != "" {
		at = at[:max(strings.LastIndex(at, "."), 0)]
	}
	if n := d.places[at]; n != nil {
		d.mistake(n, "%s %s", path, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.mistake(n, "%s: YAML anchors and aliases are not read; write it out", path)
		return
	}
	d.places[path] = n
	switch {
	case v.Type() == reflect.TypeFor[yaml.Node]():
		v.Set(reflect.ValueOf(*n))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case v.Kind() == reflect.Struct:
		d.group(n, v, path)
	case v.Kind() == reflect.Map:
		d.table(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	want := map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Int64: "a time such as 5s"}[v.Kind()]
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		d.mistake(n, "%s must be %s", path, want)
	case v.Type() == reflect.TypeFor[time.Duration]():
		t, err := time.ParseDuration(n.Value)
		if err != nil || t <= 0 {
			d.mistake(n, "%s must be %s", path, want)
		}
		v.SetInt(int64(t))
	default:
		if err := n.Decode(v.Addr().Interface()); err != nil {
			d.mistake(n, "%s must be %s", path, want)
		}
	}
}

// list reads a sequence; one text alone is a list of one.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	parts := n.Content
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && v.Type().Elem().Kind() == reflect.String:
		parts = []*yaml.Node{n}
	case n.Kind != yaml.SequenceNode:
		d.mistake(n, "%s must be a list", path)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(parts), len(parts)))
	for i, part := range parts {
		d.value(part, v.Index(i), fmt.Sprintf("%s.%d", path, i))
	}
	d.places[path] = n
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.mistake(n, "%s must be a group of named fields", path)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if v.MapIndex(reflect.ValueOf(key.Value)).IsValid() {
			d.mistake(key, "%s has %s twice", path, key.Value)
			continue
		}
		part := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], part, join(path, key.Value))
		v.SetMapIndex(reflect.ValueOf(key.Value), part)
	}
}

func (d *decoder) group(n *yaml.Node, v reflect.Value, path string) {
	fields := map[string]reflect.Value{}
	gatherFields(v, fields)
	names := sorted(fields)
	if n.Kind != yaml.MappingNode {
		d.mistake(n, "%s must be a group of fields: %s", or(path, "the file"), strings.Join(names, ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field, known := fields[key.Value]
		switch {
		case seen[key.Value]:
			d.mistake(key, "%s is there twice", join(path, key.Value))
		case !known:
			d.mistake(key, "there is no field %s; %s", join(path, key.Value), meant(key.Value, path, names))
		default:
			d.value(n.Content[i+1], field, join(path, key.Value))
		}
		seen[key.Value] = true
	}
}

// meant says what was probably meant by an unknown name.
func meant(name, path string, known []string) string {
	if near := nearest.Of(name, known); near != "" {
		return "did you mean " + join(path, near) + "?"
	}
	return or(path, "the file") + " may have " + strings.Join(known, ", ")
}

// gatherFields finds the fields of a struct by their names in YAML, through what is inlined.
func gatherFields(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name, inline := strings.CutSuffix(v.Type().Field(i).Tag.Get("yaml"), ",inline")
		if inline {
			gatherFields(v.Field(i), into)
			continue
		}
		into[name] = v.Field(i)
	}
}

// err is all that is wrong with the file of that name, or nil.
func (d *decoder) err(name string) error {
	if len(d.mistakes) == 0 {
		return nil
	}
	seen := map[string]bool{} // what several targets share is looked at for each
	d.mistakes = slices.DeleteFunc(d.mistakes, func(err error) bool {
		again := seen[err.Error()]
		seen[err.Error()] = true
		return again
	})
	return problem.New(problem.Invalid, "control-point-invalid", "the control point %s cannot be used: %w", name, errors.Join(d.mistakes...))
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

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

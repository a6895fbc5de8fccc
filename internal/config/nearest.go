package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/avalhq/aval/internal/nearest"
)

// hint says what was probably meant by an unknown name in the group at path.
func hint(group reflect.Type, path, name string) string {
	if best := nearest.Of(name, names(group)); best != "" {
		return fmt.Sprintf("did you mean %s?", join(path, best))
	}
	if places := find(reflect.TypeFor[Config](), "", name); len(places) > 0 {
		return "did you mean " + strings.Join(places, " or ") + "?"
	}
	return fmt.Sprintf("%s has %s", or(path, "the file"), strings.Join(names(group), ", "))
}

// find gives the full names of the fields that are called name in any group below t.
func find(t reflect.Type, path, name string) []string {
	var places []string
	for i := range t.NumField() {
		field := t.Field(i)
		full := join(path, field.Tag.Get("yaml"))
		if field.Tag.Get("yaml") == name {
			places = append(places, full)
		}
		if field.Type.Kind() == reflect.Struct {
			places = append(places, find(field.Type, full, name)...)
		}
	}
	return places
}

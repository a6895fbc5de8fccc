package config

import (
	"fmt"
	"reflect"
	"strings"
)

// hint says what was probably meant by an unknown name in the group at path.
func hint(group reflect.Type, path, name string) string {
	best, least := "", len(name)/3+2
	for _, known := range names(group) {
		if d := distance(name, known); d < least {
			best, least = known, d
		}
	}
	if best != "" {
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

// distance is the Levenshtein distance between two short names, upper case and hyphens counting as what was meant.
func distance(a, b string) int {
	a = strings.ReplaceAll(strings.ToLower(a), "-", "_")
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

package postgres

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// TestMigrationsAreNumberedOneByOne needs no server: two changes that land at the same time must not take one number, and the
// level that a program needs is the number of its last one.
func TestMigrationsAreNumberedOneByOne(t *testing.T) {
	names, err := fs.Glob(scripts, "schema/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for i, name := range names {
		if want := fmt.Sprintf("schema/%05d_", i+1); !strings.HasPrefix(name, want) {
			t.Errorf("%s is number %d: its name has to begin with %s", name, i+1, want)
		}
	}
}

// taken is what programs of the version before could miss.
var taken = regexp.MustCompile(`(?i)\b(drop\s+(table|column|index|view|constraint|function|trigger)|rename|alter\s+column|truncate|delete\s+from|set\s+not\s+null|revoke)\b`)

// without is a column that older programs' statements, which do not name it, could not fill.
var without = regexp.MustCompile(`(?i)\badd\s+column\b[^,;]*\bnot\s+null\b[^,;]*`)

// TestMigrationsOnlyAdd needs no server: programs of the version before run on while a database is upgraded. A migration that takes away
// what none of them needs any more raises the level of compatibility, so that those that need it are refused.
func TestMigrationsOnlyAdd(t *testing.T) {
	names, err := fs.Glob(scripts, "schema/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names[1:] {
		raw, err := scripts.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(raw), "-- +goose Down")
		up = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(up, "")
		if strings.Contains(up, "UPDATE compatibility") {
			continue
		}
		if found := taken.FindString(up); found != "" {
			t.Errorf("%s says %q: add beside it what is new, and take it away in a later version that raises the level of compatibility", name, found)
		}
		for _, column := range without.FindAllString(up, -1) {
			if !strings.Contains(strings.ToUpper(column), "DEFAULT") {
				t.Errorf("%s says %q: give it a default, as older programs do not fill it", name, column)
			}
		}
	}
}

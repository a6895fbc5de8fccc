package postgres

import (
	"fmt"
	"io/fs"
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

package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/action/controlpoint"
)

// The control point in control-points.md is a good one, and so are those of the example that it speaks of.
func TestControlPointsShownAreGood(t *testing.T) {
	look := controlpoint.Options{Look: true}
	for _, d := range documents(t) {
		for i, l := range d.lines {
			if d.path != "docs/control-points.md" || strings.TrimSpace(l.text) != "```yaml" {
				continue
			}
			if _, err := controlpoint.Load(d.path, []byte(block(d.lines[i:])), look); err != nil {
				t.Error(err)
			}
		}
	}
	points, err := controlpoint.LoadAll(os.DirFS(filepath.Join(root, "examples/control-points/points")), look)
	if err != nil || len(points) != 3 {
		t.Errorf("the example has %d control points: %v", len(points), err)
	}
}

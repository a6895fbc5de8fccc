package machine

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/avalhq/aval/internal/expr"
)

// TestRefusals: each archive holds definitions, and after each what is found in it, with its place, all of it in order. What the
// language refuses (files called language-…) is refused by Load also; what an installation refuses beyond it is not.
func TestRefusals(t *testing.T) {
	paths, err := filepath.Glob("testdata/refusals/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are %d archives: %v", len(paths), err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(archive.Files); i += 2 {
			definition, want := archive.Files[i], archive.Files[i+1]
			t.Run(filepath.Base(path)+"/"+definition.Name, func(t *testing.T) {
				if want.Name != "found" {
					t.Fatalf("after %s comes %s, want what is found", definition.Name, want.Name)
				}
				d, found := Review("test.v1", definition.Data, trial())
				if got := strings.Join(found.In(""), "\n"); got != strings.TrimSpace(string(want.Data)) {
					t.Errorf("got\n%s\nwant\n%s", got, want.Data)
				}
				if refused := len(found.Errors()) > 0; refused != (d == nil) {
					t.Errorf("refused: %v, and the definition is %v", refused, d)
				}
				_, err := Load("test.v1", definition.Data, trial().Actions)
				if language := strings.HasPrefix(filepath.Base(path), "language"); language != (err != nil) {
					t.Errorf("Load gives %v", err)
				}
			})
		}
	}
}

// trial are the rules that the tests' definitions are held to.
func trial() Rules {
	return Rules{
		Actions: func(name string) (effect, known bool) {
			if name == "park" {
				return false, true
			}
			return actions(name)
		},
		Names: []string{"effect", "pure", "park"},
		Parks: func(name string) bool { return name == "park" },
		Message: func(string) *expr.Type {
			body, err := expr.Schema("message.body", []byte(`{"type": "object", "additionalProperties": false, "properties": {
				"amount": {"type": "string", "format": "amount"}, "fee": {"type": "string", "format": "amount"},
				"to": {"type": "string"}, "currency": {"type": "string", "enum": ["EURT", "USDT"]}}}`))
			if err != nil {
				panic(err)
			}
			return expr.Object("message", map[string]*expr.Type{"expires": expr.Int(), "body": body}, false)
		},
	}
}

// TestPositionsInExpressions: a fault within an expression is found at its own line and column, however the string is written.
func TestPositionsInExpressions(t *testing.T) {
	for name, source := range map[string]string{
		"plain":         "  A: {Type: Pass, Output: '{% 1 + ☞x %}', End: true}",
		"double quotes": `  A: {Type: Pass, Output: "{% 'ä' + \"b\" + '\x41\u00e9\U0001F600' + ☞x %}", End: true}`,
		"single quotes": `  A: {Type: Pass, Output: '{% ''a'' + ☞x %}', End: true}`,
		"block":         "  A:\n    Type: Pass\n    End: true\n    Output: |\n      {% 1 +\n\n        (2 + ☞x) %}\n",
		"folded":        "  A:\n    Type: Pass\n    End: true\n    Output: >-\n      {% 1 +\n      2 +\n      ☞x %}\n",
		"folded quotes": "  A:\n    Type: Pass\n    End: true\n    Output: \"{% 1 +\n      2 + \\\n      ☞x %}\"\n",
		"over lines":    "  A:\n    Type: Pass\n    End: true\n    Output: '{% 1 +\n      ☞x %}'\n",
	} {
		t.Run(name, func(t *testing.T) { pointed(t, "QueryLanguage: CEL\nStartAt: A\nStates:\n"+source) })
	}
	t.Run("JSON", func(t *testing.T) {
		pointed(t, "{\"QueryLanguage\": \"CEL\", \"StartAt\": \"A\",\n\t\"States\": {\"A\": {\"Type\": \"Pass\", \"End\": true,\n\t\"Output\": \"{% '\\u00e9\\ud83d\\ude00' +\\n\\t☞x %}\"}}}")
	})
}

// pointed loads a source in which a hand points at the name of something that is not there.
func pointed(t *testing.T, source string) {
	t.Helper()
	before, _, _ := strings.Cut(source, "☞")
	line := 1 + strings.Count(before, "\n")
	column := 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
	_, found := Review("test.v1", []byte(strings.Replace(source, "☞", "", 1)), trial())
	if len(found) != 1 || found[0].Line != line || found[0].Column != column || !strings.Contains(found[0].Text, "'x'") {
		t.Errorf("got %v, want it at %d:%d:\n%s", found.In(""), line, column, source)
	}
}

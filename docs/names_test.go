package docs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/workflows"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// mentions calls visit for what stands between backquotes in running text; ADRs speak of what was, and are left out.
func mentions(t *testing.T, visit func(d document, l line, name string)) {
	t.Helper()
	for _, d := range documents(t) {
		if strings.HasPrefix(d.path, "docs/adr/") {
			continue
		}
		for _, l := range d.lines {
			if l.code {
				continue
			}
			for _, m := range quoted.FindAllStringSubmatch(l.text, -1) {
				visit(d, l, m[1])
			}
		}
	}
}

// source is the text of all files below the folders whose names end so.
func source(t *testing.T, ending string, folders ...string) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ending) {
				return err
			}
			raw, err := os.ReadFile(name)
			all.Write(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// TestAlertsFit: the alert rules are in the form that Prometheus reads, and speak of metrics and events that there are.
func TestAlertsFit(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "deploy/alerts/aval.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      struct{ Summary, Runbook string }
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	code := source(t, ".go", "internal/telemetry", "internal/transaction")
	names := regexp.MustCompile(`aval_[a-z_]+|event=~?"[^"]+"`)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			found := names.FindAllString(r.Expr, -1)
			if len(found) == 0 || r.Annotations.Summary == "" || r.Annotations.Runbook == "" || r.Labels["severity"] == "" {
				t.Errorf("%s is not whole: %+v", r.Alert, r)
			}
			for _, name := range found {
				_, value, isEvent := strings.Cut(name, "=")
				for _, word := range strings.Split(strings.Trim(value, `~"`), "|") {
					if isEvent && !strings.Contains(code, `"`+word+`"`) || !isEvent && !strings.Contains(code, `"`+name+`"`) {
						t.Errorf("%s speaks of %s, which there is not", r.Alert, name)
					}
				}
			}
		}
	}
}

// TestDecisionRecordsHaveNumbers: one after the other, each its own, the same in name and heading, and in the list.
func TestDecisionRecordsHaveNumbers(t *testing.T) {
	records, err := filepath.Glob(filepath.Join(root, "docs/adr/0*.md"))
	if err != nil {
		t.Fatal(err)
	}
	list := source(t, "README.md", "docs/adr")
	for i, path := range records {
		number, name := fmt.Sprintf("%04d", i+1), filepath.Base(path)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name, number+"-") || !strings.HasPrefix(string(raw), "# "+number+": ") || !strings.Contains(list, "| ["+number+"]("+name+") |") {
			t.Errorf("the decision record %s should have the number %s, in its name, its heading and the list", name, number)
		}
	}
}

func TestNamedFilesExist(t *testing.T) {
	place := regexp.MustCompile(`^(api|client|cmd|contracts|docs|examples|internal|schemas|test|workflows)/[\w./-]*$`)
	mentions(t, func(d document, l line, name string) {
		if !place.MatchString(name) || strings.Contains(name, "…") {
			return
		}
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s:%d: there is no %s", d.path, l.number, name)
		}
	})
}

func TestNamedTestsExist(t *testing.T) {
	code := source(t, ".go", "internal", "cmd", "client", "test", "docs", "workflows", "schemas", "contracts", "api")
	function := regexp.MustCompile(`^(Test|Fuzz|Example)[A-Z]\w+$`)
	suiteCase := regexp.MustCompile(`^([A-Za-z]+/[A-Z]\w+|I\d+: .*)$`)
	mentions(t, func(d document, l line, name string) {
		switch {
		case function.MatchString(name) && !strings.Contains(code, "func "+name+"("):
			t.Errorf("%s:%d: there is no test %s", d.path, l.number, name)
		case suiteCase.MatchString(name) && !strings.Contains(code, `"`+name+`"`):
			t.Errorf("%s:%d: no suite has the case %s", d.path, l.number, name)
		}
	})
}

// A word in the first column of a table headed "code" is a problem's code; so is what a document calls by its HTTP status.
func TestNamedCodesExist(t *testing.T) {
	code := source(t, ".go", "internal", "cmd")
	table := false
	codes := 0
	for _, d := range documents(t) {
		for _, l := range d.lines {
			switch {
			case strings.HasPrefix(l.text, "| code |"):
				table = true
			case !strings.HasPrefix(l.text, "|"):
				table = false
			case table:
				for _, m := range quoted.FindAllStringSubmatch(strings.Split(l.text, "|")[1], -1) {
					if codes++; !strings.Contains(code, `"`+m[1]+`"`) {
						t.Errorf("%s:%d: no problem has the code %s", d.path, l.number, m[1])
					}
				}
			}
		}
	}
	if codes < 30 {
		t.Errorf("only %d codes were found", codes)
	}
}

func TestNamedMetricsExist(t *testing.T) {
	metric := regexp.MustCompile(`\baval_[a-z_]+\b`)
	code := source(t, "metrics.go", "internal/telemetry")
	named := map[string]bool{}
	mentions(t, func(d document, l line, name string) {
		for _, m := range metric.FindAllString(name, -1) {
			if named[m] = true; !strings.Contains(code, `"`+m+`"`) {
				t.Errorf("%s:%d: there is no metric %s", d.path, l.number, m)
			}
		}
	})
	for _, m := range metric.FindAllString(code, -1) {
		if !named[m] {
			t.Errorf("no document tells of the metric %s", m)
		}
	}
}

func TestNamedFieldsAreConfigured(t *testing.T) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(config.Example()), &tree); err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`^(api|auth|database|control_points|messages|chain|custody|controller|telemetry)\.[a-z_.]+$`)
	mentions(t, func(d document, l line, name string) {
		if !field.MatchString(name) || strings.HasSuffix(name, ".md") || strings.HasSuffix(name, ".go") {
			return
		}
		var at any = tree
		for _, part := range strings.Split(name, ".") {
			of, _ := at.(map[string]any)
			at = of[part]
			if _, there := of[part]; !there {
				t.Errorf("%s:%d: there is no field %s", d.path, l.number, name)
				return
			}
		}
	})
}

// The rules in policy.md, the definition in workflows.md and the parts of configurations in operations.md are good ones.
func TestRulesAndWorkflowsShownAreGood(t *testing.T) {
	var rules, workflow strings.Builder
	for _, d := range documents(t) {
		for i, l := range d.lines {
			if strings.TrimSpace(l.text) != "```yaml" {
				continue
			}
			shown := block(d.lines[i:])
			switch d.path {
			case "docs/policy.md":
				rules.WriteString(shown + "\n")
			case "docs/workflows.md":
				workflow.WriteString(shown + "\n")
			case "docs/operations.md":
				c, err := config.Parse(config.Default(), d.path, []byte(shown))
				if err == nil && c.Data != config.Default().Data { // a whole file
					err = c.Validate()
				}
				if err != nil {
					t.Errorf("the configuration at line %d: %v", l.number, err)
				}
			}
		}
	}
	if _, err := policy.Load([]byte(rules.String()), "docs/policy.md"); err != nil || !strings.Contains(rules.String(), "rules:") {
		t.Errorf("the rules shown, together: %v", err)
	}
	actions := func(name string) (effect, known bool) {
		return false, slices.Contains([]string{"validate", "authorize", "record", "archive"}, name)
	}
	if _, err := machine.Load("note.v1", []byte(workflow.String()), actions); err != nil {
		t.Error(err)
	}
}

// What aval workflow list shows in workflows.md is what ships.
func TestListedWorkflowsAreThoseThatShip(t *testing.T) {
	shown := source(t, "workflows.md", "docs")
	files, err := workflows.FS().ReadDir(".")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are %d workflows: %v", len(files), err)
	}
	for _, file := range files {
		text, err := workflows.FS().ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		name := strings.TrimSuffix(file.Name(), ".yaml")
		if listed := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` +` + hex.EncodeToString(sum[:8]) + ` `); !listed.MatchString(shown) {
			t.Errorf("docs/workflows.md does not list %s with the hash %x: run aval workflow list", name, sum[:8])
		}
	}
}

// Package docs_test keeps Aval's documents true where a machine can: links lead somewhere, what is named exists, and the
// code that is shown is code that runs. The commands that are shown are held to the command line in cmd/aval.
//
// A code block under a comment <!-- from FILE: NAME --> is the part of FILE between the lines "// region NAME" and
// "// endregion". It does not check prose: read it.
package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the folder of the module, seen from this package.
const root = ".."

// template is to be copied: its links are examples.
const template = "docs/adr/template.md"

// document is a Markdown file of the project.
type document struct {
	path  string // from the root, with slashes
	lines []line
}

// line is a line of a document with its number and the language of the code block that it is in.
type line struct {
	number int
	text   string
	code   bool
}

func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (name != root && strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		raw, err := os.ReadFile(name)
		from, _ := filepath.Rel(root, name)
		all = append(all, document{filepath.ToSlash(from), split(string(raw))})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 15 {
		t.Fatalf("only %d documents were found", len(all))
	}
	return all
}

func split(text string) []line {
	var lines []line
	code := false
	for i, l := range strings.Split(text, "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(l), "```")
		lines = append(lines, line{i + 1, l, code || fence || strings.HasPrefix(l, "    ")})
		if fence {
			code = !code
		}
	}
	return lines
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// links gives the relative links of a document, as paths from the root, with their anchors.
func (d document) links() map[string]int {
	found := map[string]int{}
	for _, l := range d.lines {
		if l.code {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(l.text, -1) {
			if target := m[1]; !strings.Contains(target, "://") {
				file, anchor, _ := strings.Cut(target, "#")
				to := d.path
				if file != "" {
					to = path.Join(path.Dir(d.path), file)
				}
				found[to+"#"+anchor] = l.number
			}
		}
	}
	return found
}

var notAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors are the names that a reader's browser has for the headings.
func (d document) anchors() []string {
	var all []string
	for _, l := range d.lines {
		if title, ok := strings.CutPrefix(strings.TrimLeft(l.text, "#"), " "); ok && strings.HasPrefix(l.text, "#") && !l.code {
			all = append(all, strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(title), ""), " ", "-"))
		}
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := documents(t)
	for _, d := range all {
		if d.path == template {
			continue
		}
		for to, number := range d.links() {
			file, anchor, _ := strings.Cut(to, "#")
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s:%d: the link to %s leads nowhere", d.path, number, file)
				continue
			}
			at := slices.IndexFunc(all, func(d document) bool { return d.path == file })
			if anchor != "" && (at < 0 || !slices.Contains(all[at].anchors(), anchor)) {
				t.Errorf("%s:%d: %s has no heading for #%s", d.path, number, file, anchor)
			}
		}
	}
}

// Whoever begins at the README comes to every document.
func TestNoDocumentIsAnOrphan(t *testing.T) {
	all := documents(t)
	reached := map[string]bool{"README.md": true}
	for queue := []string{"README.md"}; len(queue) > 0; queue = queue[1:] {
		for _, d := range all {
			if d.path != queue[0] {
				continue
			}
			for to := range d.links() {
				if file, _, _ := strings.Cut(to, "#"); !reached[file] {
					reached[file] = true
					queue = append(queue, file)
				}
			}
		}
	}
	for _, d := range all {
		if !reached[d.path] && d.path != template {
			t.Errorf("no link leads from README.md to %s", d.path)
		}
	}
}

var from = regexp.MustCompile(`^<!-- from (\S+): (\S+) -->$`)

func TestCodeShownIsCodeThatRuns(t *testing.T) {
	shown := 0
	for _, d := range documents(t) {
		for i, l := range d.lines {
			if m := from.FindStringSubmatch(l.text); m != nil && !l.code {
				shown++
				if got, want := block(d.lines[i+1:]), region(t, m[1], m[2]); got != want {
					t.Errorf("%s:%d: the block is not the region %s of %s, which is\n%s", d.path, l.number, m[2], m[1], want)
				}
			}
		}
	}
	if shown == 0 {
		t.Error("no document shows code")
	}
}

// block is the content of the fenced block at the beginning of lines.
func block(lines []line) string {
	var text []string
	for i, l := range lines {
		switch fence := strings.HasPrefix(l.text, "```"); {
		case i == 0 && !fence:
			return ""
		case i > 0 && fence:
			return strings.Join(text, "\n")
		case i > 0:
			text = append(text, l.text)
		}
	}
	return ""
}

// region is the part of a file between its markers.
func region(t *testing.T, file, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(raw), "region "+name+"\n")
	inside, _, ended := strings.Cut(rest, "endregion")
	if !begun || !ended {
		t.Fatalf("%s has no region %s", file, name)
	}
	return strings.TrimSpace(strings.TrimRight(strings.TrimSpace(inside), "/#"))
}

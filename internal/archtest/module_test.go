package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/avalhq/aval"

// source is one Go file.
type source struct {
	path    string // from the module's root, with slashes: "internal/message/id.go"
	dir     string // "internal/message"
	test    bool   // a test file, or part of a conformance suite
	syntax  *ast.File
	lines   int
	imports []string
}

// module is all the Go source that the rules apply to.
type module struct {
	fset    *token.FileSet
	sources []*source
}

// violation is a place where a rule is broken.
type violation struct {
	where string // file:line, or a folder
	what  string
}

// add parses a file into the module, unless it is generated.
func (m *module) add(name string, text []byte) error {
	syntax, err := parser.ParseFile(m.fset, name, text, parser.ParseComments)
	if err != nil {
		return err
	}
	if ast.IsGenerated(syntax) {
		return nil
	}
	dir := path.Dir(name)
	s := &source{path: name, dir: dir, test: strings.HasSuffix(name, "_test.go") || isSuite(dir), syntax: syntax, lines: strings.Count(string(text), "\n")}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		s.imports = append(s.imports, imported)
	}
	m.sources = append(m.sources, s)
	return nil
}

// at makes a violation at a node.
func (m *module) at(n ast.Node, format string, args ...any) violation {
	p := m.fset.Position(n.Pos())
	return violation{fmt.Sprintf("%s:%d", p.Filename, p.Line), fmt.Sprintf(format, args...)}
}

// unneeded finds exceptions, "folder" or "folder.name", that nothing in that folder needs.
func (m *module) unneeded(exceptions map[string]string, needed map[string]bool) []violation {
	var found []violation
	for exception := range exceptions {
		folder, _, _ := strings.Cut(exception, ".")
		there := slices.ContainsFunc(m.sources, func(s *source) bool { return under(s.dir, folder) })
		if there && !needed[exception] {
			found = append(found, violation{exception, "is an exception that is not needed: remove it from the list in internal/archtest"})
		}
	}
	return found
}

// program leaves the test files out.
func (m *module) program() []*source {
	var kept []*source
	for _, s := range m.sources {
		if !s.test {
			kept = append(kept, s)
		}
	}
	return kept
}

// packages groups the sources by folder.
func (m *module) packages() map[string][]*source {
	byDir := map[string][]*source{}
	for _, s := range m.sources {
		byDir[s.dir] = append(byDir[s.dir], s)
	}
	return byDir
}

// load reads the module that this test belongs to.
func load(t *testing.T) *module {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	m := &module{fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(root, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return m.add(filepath.ToSlash(relative), text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// enter leaves out what is not this module's source: hidden folders, dependencies, test data, other modules.
func enter(root, dir string) error {
	if dir == root {
		return nil
	}
	name := filepath.Base(dir)
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	if strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata" || err == nil {
		return fs.SkipDir
	}
	return nil
}

// plant makes a module of in-memory files, for the tests of the rules.
func plant(t *testing.T, files map[string]string) *module {
	t.Helper()
	m := &module{fset: token.NewFileSet()}
	for name, text := range files {
		if err := m.add(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// under says whether a folder or import path is one of these, or below one.
func under(name string, folders ...string) bool {
	for _, folder := range folders {
		if name == folder || strings.HasPrefix(name, folder+"/") {
			return true
		}
	}
	return false
}

// isSuite says whether a folder is the conformance suite of the package above it: "…/feeder/feedertest".
func isSuite(dir string) bool { return path.Base(dir) == path.Base(path.Dir(dir))+"test" }

// inModule is the folder of an import of this module.
func inModule(imported string) (dir string, ok bool) {
	return strings.CutPrefix(imported, modulePath+"/")
}

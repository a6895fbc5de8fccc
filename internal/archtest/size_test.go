package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// The bounds. Half of the files should stay under 160 lines and half of the functions under 13.
const (
	maxFile     = 500 // lines
	maxFunction = 60  // lines, signature and braces included
	maxTest     = 100 // of a function in a test file: tables of cases are long and simple
	maxDepth    = 4   // folders with Go files in them
	maxMethods  = 7   // of an interface
)

var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "lib"}

func sizeRules() []rule {
	long := func(lines int) string { return strings.Repeat("\n", lines) }
	return []rule{
		{
			name: "file length", why: "a file is one thing that can be read at once", check: checkFiles,
			broken: []map[string]string{{"a/a.go": "package a\n" + long(500)}, {"a/a_test.go": "package a\n" + long(500)}},
			kept:   []map[string]string{{"a/a.go": "package a\n" + long(499)}},
		},
		{
			name: "function length", why: "a function is one thought", check: checkFunctions,
			broken: []map[string]string{
				{"a/a.go": "package a\n\nfunc f() {" + long(60) + "}\n"},
				{"a/a.go": "package a\n\nvar f = func() {" + long(60) + "}\n"},
				{"a/a_test.go": "package a\n\nfunc f() {" + long(100) + "}\n"},
			},
			kept: []map[string]string{{"a/a.go": "package a\n\nfunc f() {" + long(59) + "}\n"}, {"a/a_test.go": "package a\n\nfunc f() {" + long(99) + "}\n"}},
		},
		{
			name: "folder depth", why: "what is deeper is not found", check: checkDepth,
			broken: []map[string]string{{"internal/a/b/c/d/d.go": "package d\n"}},
			kept:   []map[string]string{{"internal/a/b/c/c.go": "package c\n"}},
		},
		{
			name: "package names", why: "a package is named for what it provides", check: checkNames,
			broken: []map[string]string{{"internal/util/a.go": "package util\n"}, {"internal/x/a.go": "package helpers\n"}},
			kept:   []map[string]string{{"internal/commons/a.go": "package commons\n"}},
		},
		{
			name: "interface size", why: "a port is small enough to be implemented well", check: checkInterfaces,
			broken: []map[string]string{
				{"a/a.go": "package a\n\ntype i interface{ a(); b(); c(); d(); e(); f(); g(); h() }\n"},
				{"a/a.go": "package a\n\ntype i interface{ j; e(); f(); g(); h() }\n\ntype j interface{ a(); b(); c(); d() }\n"},
			},
			kept: []map[string]string{
				{"a/a.go": "package a\n\ntype i interface{ a(); b(); c(); d(); e(); f(); g() }\n"},
				{"a/a.go": "package a\n\ntype i interface{ a | b | c }\n"},
			},
		},
	}
}

func checkFiles(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		if s.lines > maxFile {
			found = append(found, violation{s.path, fmt.Sprintf("has %d lines, %d at most", s.lines, maxFile)})
		}
	}
	return found
}

func checkFunctions(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		limit := maxFunction
		if s.test {
			limit = maxTest
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
			default:
				return true
			}
			if lines := m.fset.Position(n.End()).Line - m.fset.Position(n.Pos()).Line + 1; lines > limit {
				found = append(found, m.at(n, "the function has %d lines, %d at most", lines, limit))
				return false
			}
			return true
		})
	}
	return found
}

func checkDepth(m *module) []violation {
	var found []violation
	for dir := range m.packages() {
		if depth := strings.Count(dir, "/") + 1; depth > maxDepth {
			found = append(found, violation{dir, fmt.Sprintf("is %d folders deep, %d at most", depth, maxDepth)})
		}
	}
	return found
}

func checkNames(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		for _, name := range append(strings.Split(s.dir, "/"), s.syntax.Name.Name) {
			if slices.Contains(vagueNames, name) {
				found = append(found, violation{s.path, fmt.Sprintf("is in a package or folder named %s", name)})
			}
		}
	}
	return found
}

func checkInterfaces(m *module) []violation {
	var found []violation
	for _, sources := range m.packages() {
		sizes := map[string]*ast.InterfaceType{}
		for _, s := range sources {
			for spec, face := range interfaces(s.syntax) {
				sizes[spec.Name.Name] = face
			}
		}
		for _, s := range sources {
			for spec, face := range interfaces(s.syntax) {
				if n := methods(face, sizes); n > maxMethods {
					found = append(found, m.at(spec, "%s has %d methods, %d at most", spec.Name.Name, n, maxMethods))
				}
			}
		}
	}
	return found
}

// methods counts, through embedded interfaces of the same package; another package's counts as one.
func methods(face *ast.InterfaceType, known map[string]*ast.InterfaceType) int {
	n := 0
	for _, field := range face.Methods.List {
		if len(field.Names) > 0 {
			n += len(field.Names)
			continue
		}
		switch embedded := field.Type.(type) {
		case *ast.Ident:
			if inner := known[embedded.Name]; inner != nil {
				n += methods(inner, known)
			}
		case *ast.SelectorExpr:
			n++
		}
	}
	return n
}

// interfaces gives the interface types that a file declares.
func interfaces(file *ast.File) map[*ast.TypeSpec]*ast.InterfaceType {
	found := map[*ast.TypeSpec]*ast.InterfaceType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if face, ok := spec.Type.(*ast.InterfaceType); ok {
				found[spec] = face
			}
		}
		return true
	})
	return found
}

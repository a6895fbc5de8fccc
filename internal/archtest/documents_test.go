package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

func documentRules() []rule {
	const doc = "// Package a does what a package named a has to do, and says here what that is.\n"
	return []rule{
		{
			name: "package comments", why: "the package comment is the design of the package", check: checkPackageComments,
			broken: []map[string]string{{"a/a.go": "package a\n"}, {"a/a.go": "// Package a.\npackage a\n"}, {"a/a.go": "// about a\n\npackage a\n"}},
			kept:   []map[string]string{{"a/a.go": "package a\n", "a/doc.go": doc + "package a\n", "a/x_test.go": "package a_test\n"}, {"a/a_test.go": doc + "package a\n"}},
		},
		{
			name: "exported names", why: "what others may use says what it is", check: checkExported,
			broken: []map[string]string{
				{"a/a.go": "package a\n\nfunc F() {}\n"},
				{"a/a.go": "package a\n\ntype T int\n"},
				{"a/a.go": "package a\n\n// T is.\ntype T int\n\nfunc (T) M() {}\n"},
				{"a/a.go": "package a\n\nconst C = 1\n"},
				{"a/a.go": "package a\n\nvar (\n\tA = 1\n)\n"},
			},
			kept: []map[string]string{
				{"a/a.go": "package a\n\n// The constants.\nconst (\n\tA = 1\n\tB = 2\n)\n\nvar (\n\tC = 1 // is one\n)\n\ntype t int\n\nfunc (t) M() {}\n"},
				{"cmd/a/a.go": "package main\n\nfunc F() {}\n"},
				{"a/a_test.go": "package a\n\nfunc TestA() {}\n"},
			},
		},
		{
			name: "ports", why: "a port's comment states durability, ordering and consistency, and names its suite", check: checkPorts,
			broken: []map[string]string{
				{"a/a.go": "package a\n\n// Store is the port to a. Durability, ordering and consistency: all.\ntype Store interface{ A() }\n"},
				{"a/a.go": "package a\n\n// Store is the port to a. Durability: all. Its suite is atest.\ntype Store interface{ A() }\n", "a/atest/a.go": "package atest\n"},
				{"a/a.go": "package a\n\n// Store is the port to a. Durability, ordering and consistency: all. Its suite is atest.\ntype Store interface{ A() }\n"},
			},
			kept: []map[string]string{
				{"a/a.go": "package a\n\n// Store is the port to a. Durability, ordering and consistency: all. Its suite is atest.\ntype Store interface{ A() }\n", "a/atest/a.go": "package atest\n"},
				{"a/a.go": "package a\n\n// Reader reads.\ntype Reader interface{ A() }\n"},
			},
		},
		{
			name: "suites", why: "a conformance suite that no port names or nobody runs proves nothing", check: checkSuites,
			broken: []map[string]string{
				{"a/a.go": "package a\n", "a/atest/a.go": "package atest\n", "b/b_test.go": "package b\n\nimport _ \"" + modulePath + "/a/atest\"\n"},
				{"a/a.go": "package a\n\n// Store is the port to a. Its suite is atest.\ntype Store interface{ A() }\n", "a/atest/a.go": "package atest\n"},
			},
			kept: []map[string]string{
				{"a/a.go": "package a\n\n// Store is the port to a. Its suite is atest.\ntype Store interface{ A() }\n", "a/atest/a.go": "package atest\n", "b/b_test.go": "package b\n\nimport _ \"" + modulePath + "/a/atest\"\n"},
				{"internal/archtest/a.go": "package archtest\n"},
			},
		},
	}
}

func checkPackageComments(m *module) []violation {
	var found []violation
	for dir, sources := range m.packages() {
		if !slices.ContainsFunc(sources, func(s *source) bool { return len(s.syntax.Doc.Text()) >= 60 }) {
			found = append(found, violation{dir, "the package has no comment, or one that says nothing"})
		}
	}
	return found
}

func checkExported(m *module) []violation {
	var found []violation
	for _, s := range m.program() {
		if s.syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range s.syntax.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Doc == nil && decl.Name.IsExported() && exportedReceiver(decl) {
					found = append(found, m.at(decl, "%s has no comment", decl.Name.Name))
				}
			case *ast.GenDecl:
				found = append(found, uncommented(m, decl)...)
			}
		}
	}
	return found
}

// uncommented finds exported names whose group, declaration and line have no comment.
func uncommented(m *module, decl *ast.GenDecl) []violation {
	var found []violation
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && spec.Doc == nil && (decl.Doc == nil || decl.Lparen != token.NoPos) {
				found = append(found, m.at(spec, "%s has no comment", spec.Name.Name))
			}
		case *ast.ValueSpec:
			if spec.Names[0].IsExported() && spec.Doc == nil && spec.Comment == nil && decl.Doc == nil {
				found = append(found, m.at(spec, "%s has no comment", spec.Names[0].Name))
			}
		}
	}
	return found
}

func exportedReceiver(decl *ast.FuncDecl) bool {
	if decl.Recv == nil {
		return true
	}
	t := decl.Recv.List[0].Type
	for {
		switch inner := t.(type) {
		case *ast.StarExpr:
			t = inner.X
		case *ast.IndexExpr:
			t = inner.X
		case *ast.IndexListExpr:
			t = inner.X
		case *ast.Ident:
			return inner.IsExported()
		default:
			return false
		}
	}
}

var (
	aPort     = regexp.MustCompile(`\bport\b`)
	suiteName = regexp.MustCompile(`\b[a-z]+test\b`)
)

func checkPorts(m *module) []violation {
	var found []violation
	packages := m.packages()
	for _, s := range m.program() {
		for spec, doc := range ports(s.syntax) {
			for _, word := range []string{"durability", "ordering", "consistency"} {
				if !strings.Contains(strings.ToLower(doc), word) {
					found = append(found, m.at(spec, "the comment of the port %s does not state its %s", spec.Name.Name, word))
				}
			}
			suite := suiteName.FindString(doc)
			if _, there := packages[path.Join(s.dir, suite)]; suite == "" || !there {
				found = append(found, m.at(spec, "the port %s names no conformance suite that is there: %q below %s", spec.Name.Name, suite, s.dir))
			}
		}
	}
	return found
}

// ports gives the interfaces whose comments say that they are ports, with those comments.
func ports(file *ast.File) map[*ast.TypeSpec]string {
	found := map[*ast.TypeSpec]string{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			doc := group.Doc.Text() + t.Doc.Text()
			if _, face := t.Type.(*ast.InterfaceType); face && aPort.MatchString(doc) {
				found[t] = doc
			}
		}
	}
	return found
}

func checkSuites(m *module) []violation {
	named, run := map[string]bool{}, map[string]bool{}
	for _, s := range m.sources {
		for _, doc := range ports(s.syntax) {
			named[path.Join(s.dir, suiteName.FindString(doc))] = true
		}
		for _, imported := range s.imports {
			if dir, ok := inModule(imported); ok && s.test && s.dir != dir {
				run[dir] = true
			}
		}
	}
	var found []violation
	for dir := range m.packages() {
		if !isSuite(dir) {
			continue
		}
		if !named[dir] || !run[dir] {
			found = append(found, violation{dir, fmt.Sprintf("the suite is named by a port above: %t; run by a test: %t", named[dir], run[dir])})
		}
	}
	return found
}

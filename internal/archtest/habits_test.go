package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// readsText lists folders that may tell errors apart by their text, with the reason.
var readsText = map[string]string{
	"internal/chain/evm": "a node says why it refuses a transaction in words alone",
}

// clockless are packages that are given the time.
var clockless = []string{"internal/action/machine", "internal/money"}

func habitRules() []rule {
	return []rule{
		{
			name: "skipped tests", why: "a test that needs something starts it or fails", check: checkSkips,
			broken: []map[string]string{{"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Skip() }\n"}, {"a/a.go": "package a\n\nfunc f() { tb.Skipf(\"x\") }\n"}},
			kept:   []map[string]string{{"a/a.go": "package a\n\nfunc f() { lines.Skip(3) }\n"}, {"a/a_test.go": "package a\n\nimport \"pgregory.net/rapid\"\n\nfunc f(t *rapid.T) { t.Skip() }\n"}},
		},
		{
			name: "cases of suites", why: "conform.Suite sees to it that a backend leaves none out", check: checkCases,
			broken: []map[string]string{{"a/atest/a.go": "package atest\n\nimport \"testing\"\n\nfunc Run(t *testing.T) { t.Run(\"x\", nil) }\n"}},
			kept: []map[string]string{
				{"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Run(\"x\", nil) }\n"},
				{"a/atest/a_test.go": "package atest\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Run(\"x\", nil) }\n"},
			},
		},
		{
			name: "unfinished work", why: "it is finished, or it is an issue", check: checkUnfinished,
			broken: []map[string]string{{"a/a.go": "package a\n\n// T" + "ODO: everything\n"}, {"a/a_test.go": "package a // F" + "IXME\n"}},
			kept:   []map[string]string{{"a/a.go": "package a\n\n// Todos are what is due.\n"}},
		},
		{
			name: "errors by text", why: "errors are told apart by type", check: checkErrorText,
			broken: []map[string]string{
				{"internal/a/a.go": "package a\n\nvar _ = strings.Contains(err.Error(), \"busy\")\n"},
				{"internal/a/a.go": "package a\n\nvar _ = err.Error() == \"busy\"\n"},
				{"internal/a/a.go": "package a\n\nfunc f() bool {\n\ttext := strings.ToLower(err.Error())\n\treturn strings.HasPrefix(text, \"busy\")\n}\n"},
			},
			kept: []map[string]string{{"internal/chain/evm/a.go": "package evm\n\nvar _ = strings.Contains(err.Error(), \"nonce too low\")\n"}, {"internal/a/a_test.go": "package a\n\nvar _ = strings.Contains(err.Error(), \"busy\")\n"}},
		},
		{
			name: "clocks", why: "it never reads a clock: the time is handed in", check: checkClocks,
			broken: []map[string]string{{"internal/action/machine/a.go": "package machine\n\nimport \"time\"\n\nvar _ = time.Now()\n"}},
			kept:   []map[string]string{{"internal/action/machine/a.go": "package machine\n\nimport \"time\"\n\nvar _ = time.Second\n"}, {"internal/server/a.go": "package server\n\nimport \"time\"\n\nvar _ = time.Now()\n"}},
		},
	}
}

func checkCases(m *module) (found []violation) {
	for _, s := range m.sources {
		if !isSuite(s.dir) || strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if x, name, ok := selector(n); ok && x == "t" && name == "Run" {
				found = append(found, m.at(n, "a case of a suite runs past conform.Suite"))
			}
			return true
		})
	}
	return found
}

func checkSkips(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		rapids := rapidParameters(s.syntax)
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			x, name, ok := selector(n)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name) {
				return true
			}
			if id := n.(*ast.SelectorExpr).X.(*ast.Ident); id.Obj != nil && rapids[id.Obj.Decl] {
				return true // another case is drawn: this one is outside of what the property speaks of
			}
			if slices.Contains([]string{"t", "b", "f", "tb", "rt"}, x) {
				found = append(found, m.at(n, "a test is skipped"))
			}
			return true
		})
	}
	return found
}

// rapidParameters are the declarations of parameters of type *rapid.T.
func rapidParameters(file *ast.File) map[any]bool {
	found := map[any]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok {
			if pointer, ok := field.Type.(*ast.StarExpr); ok && dotted(pointer.X) == "rapid.T" {
				found[field] = true
			}
		}
		return true
	})
	return found
}

var unfinished = regexp.MustCompile(`\b(T[O]DO|F[I]XME|X{3}|H[A]CK)\b`)

func checkUnfinished(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		for _, group := range s.syntax.Comments {
			for _, comment := range group.List {
				if mark := unfinished.FindString(comment.Text); mark != "" {
					found = append(found, m.at(comment, "a comment has %s", mark))
				}
			}
		}
	}
	return found
}

func checkErrorText(m *module) []violation {
	var found []violation
	needed := map[string]bool{}
	for _, s := range m.program() {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch {
			case !comparesErrorText(n):
			case readsText[s.dir] != "":
				needed[s.dir] = true
			default:
				found = append(found, m.at(n, "an error is recognised by its text"))
			}
			return true
		})
	}
	return append(found, m.unneeded(readsText, needed)...)
}

// comparesErrorText says whether n holds one error's text, not two, against something.
func comparesErrorText(n ast.Node) bool {
	compares := []string{"Contains", "HasPrefix", "HasSuffix", "EqualFold", "ContainsAny", "Index"}
	switch n := n.(type) {
	case *ast.CallExpr:
		pkg, name, ok := selector(n.Fun)
		return ok && pkg == "strings" && slices.Contains(compares, name) && len(n.Args) == 2 && isErrorText(n.Args[0]) != isErrorText(n.Args[1])
	case *ast.BinaryExpr:
		return n.Op.String() == "==" && isErrorText(n.X) != isErrorText(n.Y)
	}
	return false
}

// isErrorText says whether e is a call "….Error()", such a call lowered, or a variable that was made of one.
func isErrorText(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		if pkg, name, ok := selector(e.Fun); ok && pkg == "strings" && len(e.Args) == 1 {
			return strings.HasPrefix(name, "To") && isErrorText(e.Args[0])
		}
		s, ok := e.Fun.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "Error" && len(e.Args) == 0
	case *ast.Ident:
		if e.Obj == nil {
			return false
		}
		made, ok := e.Obj.Decl.(*ast.AssignStmt)
		return ok && len(made.Rhs) == 1 && isErrorText(made.Rhs[0])
	}
	return false
}

func checkClocks(m *module) []violation {
	reads := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}
	var found []violation
	for _, s := range m.program() {
		if !slices.Contains(clockless, s.dir) {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if pkg, name, ok := selector(n); ok && pkg == "time" && slices.Contains(reads, name) {
				found = append(found, m.at(n, "time.%s reads a clock", name))
			}
			return true
		})
	}
	return found
}

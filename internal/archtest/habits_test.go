package archtest

import (
	"go/ast"
	"regexp"
	"slices"
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
			kept:   []map[string]string{{"a/a.go": "package a\n\nfunc f() { lines.Skip(3) }\n"}},
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

func checkSkips(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			x, name, ok := selector(n)
			if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name) && slices.Contains([]string{"t", "b", "f", "tb", "rt"}, x) {
				found = append(found, m.at(n, "a test is skipped"))
			}
			return true
		})
	}
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
	compares := []string{"Contains", "HasPrefix", "HasSuffix", "EqualFold", "ContainsAny", "Index"}
	var found []violation
	for _, s := range m.program() {
		if readsText[s.dir] != "" {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if pkg, name, ok := selector(n.Fun); ok && pkg == "strings" && slices.Contains(compares, name) && len(n.Args) == 2 && isErrorText(n.Args[0]) != isErrorText(n.Args[1]) {
					found = append(found, m.at(n, "an error is recognised by its text"))
				}
			case *ast.BinaryExpr:
				if n.Op.String() == "==" && isErrorText(n.X) != isErrorText(n.Y) {
					found = append(found, m.at(n, "an error is recognised by its text"))
				}
			}
			return true
		})
	}
	return found
}

// isErrorText says whether e is a call "….Error()".
func isErrorText(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) > 0 {
		return false
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Error"
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

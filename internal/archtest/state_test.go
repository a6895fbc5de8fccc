package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// mutable lists package-level variables that may be written to, "folder.name", with the reason.
var mutable = map[string]string{
	"internal/expr.exact": "apd takes its context by address, and does not write to it",
}

// stateful are the types and constructors of what exists to change.
var stateful = []string{"sync.Mutex", "sync.RWMutex", "sync.Map", "sync.Once", "sync.Pool", "sync.WaitGroup", "atomic.*", "make", "new"}

func stateRules() []rule {
	return []rule{
		{
			name: "init functions", why: "nothing happens because a package is imported", check: checkInit,
			broken: []map[string]string{{"a/a.go": "package a\n\nfunc init() {}\n"}, {"a/a_test.go": "package a\n\nfunc init() {}\n"}},
			kept:   []map[string]string{{"a/a.go": "package a\n\ntype t int\n\nfunc (t) init() {}\n"}},
		},
		{
			name: "environment", why: "only cmd reads the environment", check: checkEnvironment,
			broken: []map[string]string{
				{"internal/a/a.go": "package a\n\nimport \"os\"\n\nvar _ = os.Getenv(\"HOME\")\n"},
				{"client/a.go": "package client\n\nimport \"os\"\n\nvar _, _ = os.UserHomeDir()\n"},
			},
			kept: []map[string]string{{"cmd/aval/a.go": "package main\n\nimport \"os\"\n\nvar _ = os.Getenv(\"HOME\")\n"}, {"internal/a/a_test.go": "package a\n\nimport \"os\"\n\nvar _ = os.Environ()\n"}},
		},
		{
			name: "global state", why: "what changes belongs to somebody who made it", check: checkGlobals,
			broken: []map[string]string{
				{"a/a.go": "package a\n\nvar count int\n"},
				{"a/a.go": "package a\n\nimport \"sync\"\n\nvar mu sync.Mutex\n"},
				{"a/a.go": "package a\n\nimport \"sync\"\n\nvar mu = &sync.Mutex{}\n"},
				{"a/a.go": "package a\n\nvar seen = map[string]bool{}\n"},
				{"a/a.go": "package a\n\nvar seen = make(map[string]bool)\n"},
				{"a/a.go": "package a\n\nvar seen = map[string]bool{\"x\": true}\n\nfunc f() { seen[\"y\"] = true }\n"},
				{"a/a.go": "package a\n\nvar n = 1\n", "a/b.go": "package a\n\nfunc f() { n++ }\n"},
				{"a/a.go": "package a\n\nvar n = t{1}\n\nfunc f() { n.x = 2 }\n"},
				{"a/a.go": "package a\n\nvar n = 1\n\nfunc f() *int { return &n }\n"},
			},
			kept: []map[string]string{
				{"a/a.go": "package a\n\nimport \"regexp\"\n\nvar re = regexp.MustCompile(`a`)\n\nvar table = map[string]int{\"a\": 1}\n\nvar _ I = (*T)(nil)\n"},
				{"a/a.go": "package a\n\nimport \"embed\"\n\n//go:embed x\nvar files embed.FS\n"},
				{"a/a.go": "package a\n\nvar n = 1\n\nfunc f() { n := 2; n++; _ = n }\n"},
				{"a/a.go": "package a\n\nimport \"errors\"\n\n// ErrNo is no.\nvar ErrNo = errors.New(\"no\")\n"},
				{"a/a_test.go": "package a\n\nvar update bool\n"},
			},
		},
	}
}

func checkInit(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		for _, decl := range s.syntax.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				found = append(found, m.at(f, "there is an init function"))
			}
		}
	}
	return found
}

func checkEnvironment(m *module) []violation {
	reads := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "UserHomeDir", "UserConfigDir", "UserCacheDir"}
	var found []violation
	for _, s := range m.program() {
		if under(s.dir, "cmd") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if pkg, name, ok := selector(n); ok && (pkg == "os" || pkg == "syscall") && slices.Contains(reads, name) {
				found = append(found, m.at(n, "%s.%s reads the environment", pkg, name))
			}
			return true
		})
	}
	return found
}

func checkGlobals(m *module) []violation {
	var found []violation
	needed := map[string]bool{}
	for dir, sources := range m.packages() {
		globals := map[string]*ast.ValueSpec{}
		for _, s := range sources {
			if s.test {
				continue
			}
			for spec := range variables(s.syntax) {
				for _, name := range spec.Names {
					globals[name.Name] = spec
				}
			}
		}
		delete(globals, "_")
		for name, spec := range globals {
			what := isState(spec)
			if what == "" {
				continue
			}
			if mutable[dir+"."+name] != "" {
				needed[dir+"."+name] = true
				continue
			}
			found = append(found, m.at(spec, "the package variable %s %s", name, what))
		}
		for _, s := range sources {
			if !s.test {
				found = append(found, written(m, s, globals, needed)...)
			}
		}
	}
	return append(found, m.unneeded(mutable, needed)...)
}

// variables gives the package-level variables of a file, but for embedded files.
func variables(file *ast.File) map[*ast.ValueSpec]bool {
	found := map[*ast.ValueSpec]bool{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			if value := spec.(*ast.ValueSpec); !embeds(group.Doc) && !embeds(value.Doc) {
				found[value] = true
			}
		}
	}
	return found
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// isState says why a variable looks as if it were there to change.
func isState(spec *ast.ValueSpec) string {
	if len(spec.Values) == 0 {
		return "has no value, so somebody sets it"
	}
	for _, value := range spec.Values {
		if and, ok := value.(*ast.UnaryExpr); ok {
			value = and.X
		}
		made := ""
		switch value := value.(type) {
		case *ast.CompositeLit:
			if _, table := value.Type.(*ast.MapType); table && len(value.Elts) == 0 {
				return "is an empty map, so somebody fills it"
			}
			made = dotted(value.Type)
		case *ast.CallExpr:
			made = dotted(value.Fun)
		}
		if slices.Contains(stateful, made) || strings.HasPrefix(made, "atomic.") {
			return "is made to change: " + made
		}
	}
	return ""
}

func dotted(e ast.Expr) string {
	if pkg, name, ok := selector(e); ok {
		return pkg + "." + name
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// written finds assignments to package variables, and addresses taken of them; exceptions are noted as needed.
func written(m *module, s *source, globals map[string]*ast.ValueSpec, needed map[string]bool) []violation {
	var found []violation
	blame := func(e ast.Expr) {
		id := root(e)
		if id == nil || globals[id.Name] == nil {
			return
		}
		// The parser links names to what they declare within a file; a local of the same name links elsewhere.
		if id.Obj != nil && id.Obj.Decl != globals[id.Name] {
			return
		}
		if mutable[s.dir+"."+id.Name] != "" {
			needed[s.dir+"."+id.Name] = true
			return
		}
		found = append(found, m.at(e, "the package variable %s is written to, or its address taken", id.Name))
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					blame(left)
				}
			}
		case *ast.IncDecStmt:
			blame(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				blame(n.X)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") {
				blame(n.Args[0])
			}
		}
		return true
	})
	return found
}

// root is the variable that an expression selects or indexes into.
func root(e ast.Expr) *ast.Ident {
	for {
		switch inner := e.(type) {
		case *ast.Ident:
			return inner
		case *ast.SelectorExpr:
			e = inner.X
		case *ast.IndexExpr:
			e = inner.X
		case *ast.StarExpr:
			e = inner.X
		case *ast.ParenExpr:
			e = inner.X
		default:
			return nil
		}
	}
}

package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"
)

// reading is what a program looks at of one variable.
type reading struct {
	whole   bool     // it uses the variable itself, and so perhaps all of it
	members []string // it selects these
}

// readings walks an expression.
func readings(e ast.Expr) map[string]*reading {
	found, uses := map[string]*reading{}, map[string]int{}
	of := func(name string) *reading {
		if found[name] == nil {
			found[name] = &reading{}
		}
		return found[name]
	}
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			of(e.AsIdent())
			uses[e.AsIdent()]++
		case ast.SelectKind:
			if operand := e.AsSelect().Operand(); operand.Kind() == ast.IdentKind {
				r := of(operand.AsIdent())
				r.members = append(r.members, e.AsSelect().FieldName())
				uses[operand.AsIdent()]--
			}
		}
	}))
	for name, n := range uses {
		found[name].whole = n > 0
	}
	return found
}

// Reads tells whether the program may look at a member of a variable; with member "", at anything of it. What is not read
// need not be made.
func (p *Program) Reads(variable, member string) bool {
	r := p.reads[variable]
	return r != nil && (member == "" || r.whole || slices.Contains(r.members, member))
}

// Members lists the members of a variable that the program selects; whole tells whether it may look at others too.
func (p *Program) Members(variable string) (members []string, whole bool) {
	r := p.reads[variable]
	if r == nil {
		return nil, false
	}
	return r.members, r.whole
}

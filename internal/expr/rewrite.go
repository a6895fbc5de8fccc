package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// firstFreshID is above every id that a parser gives in an expression of maxSource bytes.
const firstFreshID = 1 << 40

// rewrite refuses literals with a fraction, gives equality and membership the names of our own functions, and has map
// literals walked in order, as maps from outside are.
func rewrite(tree *ast.AST) error {
	names, factory := renames(), ast.NewExprFactory()
	var fault *Error
	fresh := int64(firstFreshID)
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.LiteralKind:
			if e.AsLiteral().Type() == types.DoubleType && fault == nil {
				at := tree.SourceInfo().GetStartLocation(e.ID())
				fault = &Error{Line: at.Line(), Column: at.Column() + 1,
					Message: `a number with a fraction is not exact: write it as text, dec("0.5")`}
			}
		case ast.MapKind:
			fresh++
			e.SetKindCase(factory.NewCall(e.ID(), opOrdered, factory.NewMap(fresh, e.AsMap().Entries())))
		case ast.CallKind:
			call := e.AsCall()
			if renamed, ok := names[call.FunctionName()]; ok && !call.IsMemberFunction() {
				e.SetKindCase(factory.NewCall(e.ID(), renamed, call.Args()...))
			}
		}
	}))
	if fault != nil {
		return fault
	}
	return nil
}

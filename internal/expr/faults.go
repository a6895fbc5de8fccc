package expr

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// allIssues are what CEL found, in words for those who write expressions.
func allIssues(issues *cel.Issues) []*Error {
	var all []*Error
	for _, one := range issues.Errors() {
		all = append(all, issue(one))
	}
	return all
}

// issue is one of them. CEL counts columns from 0.
func issue(e *common.Error) *Error {
	return &Error{Line: max(e.Location.Line(), 1), Column: e.Location.Column() + 1, Message: unmarked(restored(e.Message))}
}

// explained says of fields that are not there which there are.
func (c *Checker) explained(tree *ast.AST, issues *cel.Issues) []*Error {
	var all []*Error
	for _, one := range issues.Errors() {
		fault := issue(one)
		ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if e.ID() != one.ExprID || e.Kind() != ast.SelectKind {
				return
			}
			field := e.AsSelect().FieldName()
			of := c.resolve(e.AsSelect().Operand())
			if of == nil || of.fields == nil {
				return
			}
			if _, ok := of.field(field); !ok {
				// CEL places a selection at its dot.
				fault.Column++
				fault.Message = absent(of, field)
			}
		}))
		all = append(all, fault)
	}
	return all
}

// applied matches how CEL says that a function does not take what it was given.
var applied = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)

// restored gives an error message the operators' own signs, and leaves out the parser's list of everything that it knows.
func restored(message string) string {
	message, _, _ = strings.Cut(message, " expecting {")
	message = strings.NewReplacer("mismatched input '<EOF>'", "the expression ends too early").Replace(message)
	m := applied.FindStringSubmatch(message)
	if m == nil {
		return message
	}
	target, arguments, member := strings.Cut(strings.TrimSuffix(m[2], ")"), ".(") // (string, int), or string.(int)
	var types []string
	if member {
		types = append(types, target)
	} else {
		arguments = strings.TrimPrefix(target, "(")
	}
	if arguments != "" {
		types = append(types, strings.Split(arguments, ", ")...)
	}
	return mismatch(sign(m[1]), types...)
}

// sign is an operator as it is written.
func sign(function string) string {
	function = strings.NewReplacer(opEquals, operators.Equals, opNotEquals, operators.NotEquals, opIn, operators.In).Replace(function)
	switch function {
	case operators.Conditional:
		return "? :"
	case operators.Index:
		return "[ ]"
	case operators.Negate:
		return "-"
	}
	if written, ok := operators.FindReverse(function); ok && written != "" {
		return written
	}
	return function
}

func operatorOf(e ast.Expr) string { return sign(e.AsCall().FunctionName()) }

// mismatch says that an operator or function does not take values of these types, and what to do.
func mismatch(operator string, types ...string) string {
	text := fmt.Sprintf("%s does not take %s", operator, strings.Join(types, " and "))
	has := func(name string) bool {
		for _, t := range types {
			if t == name {
				return true
			}
		}
		return false
	}
	switch {
	case operator == "? :":
		return text + "; both sides have to be of one type: dyn(…) around one of them leaves it open"
	case has("amount"):
		return text + "; an amount is text: make a decimal of it, dec(…), to compare and compute"
	case has("dec") && has("int"):
		return text + "; make a decimal of the whole number too: dec(…)"
	case has("dec") && has("string"):
		return text + "; make a decimal of the text: dec(…)"
	}
	return text
}

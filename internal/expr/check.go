package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/avalhq/aval/internal/nearest"
)

// Checker looks at expressions with what is known of the types of their variables: fields that are not there, values that do not
// compare, amounts that are taken for numbers. It compiles nothing; what it lets pass, Compile runs on values of any type.
type Checker struct {
	env     *cel.Env
	vars    map[string]*Type
	objects map[string]*Type // by name
}

// Checked is what a Checker has to say of an expression.
type Checked struct {
	Type     *Type    // of its value; Dyn when there are faults
	Faults   []*Error //
	Warnings []*Error //
}

// NewChecker makes one for variables of the given types.
func NewChecker(vars map[string]*Type) (*Checker, error) {
	c := &Checker{vars: vars, objects: map[string]*Type{}}
	options, err := language(anything)
	if err != nil {
		return nil, fmt.Errorf("the expression language is inconsistent: %w", err)
	}
	for name, t := range vars {
		t.names(c.objects)
		options = append(options, cel.Variable(name, t.cel))
	}
	options = append(options, amountFunctions()...)
	options = append(options, cel.CustomTypeProvider(provider{types.NewEmptyRegistry(), c.objects}))
	for name := range c.objects {
		options = append(options, objectFunctions(name)...)
	}
	if c.env, err = cel.NewCustomEnv(options...); err != nil {
		return nil, fmt.Errorf("the types of the variables %s: %w", strings.Join(slices.Sorted(maps.Keys(vars)), ", "), err)
	}
	return c, nil
}

// amountFunctions are those that take the text of an amount. To compare and to compute is for decimals.
func amountFunctions() []cel.EnvOption {
	a, text, yes := amountType, cel.StringType, cel.BoolType
	options := []cel.EnvOption{
		cel.Function("dec", cel.Overload("dec_amount", []*cel.Type{a}, decType)),
		cel.Function("string", cel.Overload("string_amount", []*cel.Type{a}, text)),
		cel.Function("int", cel.Overload("int_amount", []*cel.Type{a}, cel.IntType)),
		cel.Function("size", cel.Overload("size_amount", []*cel.Type{a}, cel.IntType), cel.MemberOverload("amount_size", []*cel.Type{a}, cel.IntType)),
		cel.Function("_+_", cel.Overload("add_amount_string", []*cel.Type{a, text}, text), cel.Overload("add_string_amount", []*cel.Type{text, a}, text)),
		cel.Function("split", cel.MemberOverload("amount_split", []*cel.Type{a, text}, cel.ListType(text))),
		cel.Function("substring", cel.MemberOverload("amount_from", []*cel.Type{a, cel.IntType}, text),
			cel.MemberOverload("amount_from_to", []*cel.Type{a, cel.IntType, cel.IntType}, text)),
	}
	for _, name := range []string{"startsWith", "endsWith", "contains", "matches"} {
		options = append(options, cel.Function(name, cel.MemberOverload("amount_"+name, []*cel.Type{a, text}, yes)))
	}
	return options
}

// objectFunctions are what objects have of maps.
func objectFunctions(name string) []cel.EnvOption {
	object := cel.ObjectType(name)
	return []cel.EnvOption{
		cel.Function("_[_]", cel.Overload("index "+name, []*cel.Type{object, cel.StringType}, cel.DynType)),
		cel.Function("size", cel.Overload("size "+name, []*cel.Type{object}, cel.IntType)),
	}
}

// provider tells CEL of the objects.
type provider struct {
	types.Provider
	objects map[string]*Type
}

// FindStructType is part of types.Provider.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	t, ok := p.objects[name]
	if !ok {
		return nil, false
	}
	return types.NewTypeTypeWithParam(t.cel), true
}

// FindStructFieldNames is part of types.Provider.
func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	t, ok := p.objects[name]
	if !ok {
		return nil, false
	}
	return slices.Sorted(maps.Keys(t.fields)), true
}

// FindStructFieldType is part of types.Provider.
func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t, ok := p.objects[name]
	if !ok {
		return nil, false
	}
	f, ok := t.field(field)
	return &types.FieldType{Type: f.cel}, ok
}

// NewValue is part of types.Provider: expressions make no objects of their own.
func (p provider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("an expression cannot make a %s", name)
}

// Check looks at an expression.
func (c *Checker) Check(src string) (found Checked) {
	found.Type = Dyn()
	defer func() {
		if r := recover(); r != nil {
			found.Faults = []*Error{{Line: 1, Column: 1, Message: "the expression cannot be checked"}}
		}
	}()
	tree, issues := c.env.Parse(src)
	if issues.Err() != nil {
		found.Faults = allIssues(issues)
		return found
	}
	if err := rewrite(tree.NativeRep()); err != nil {
		return found // Compile tells it
	}
	checked, issues := c.env.Check(tree)
	if issues.Err() != nil {
		found.Faults = c.explained(tree.NativeRep(), issues)
		return found
	}
	w := walk{c: c, tree: checked.NativeRep()}
	ast.PostOrderVisit(w.tree.Expr(), ast.NewExprVisitor(w.visit))
	found.Faults = w.faults
	if len(found.Faults) == 0 {
		found.Type = c.known(checked.OutputType())
		found.Warnings, found.Faults = c.cost(checked)
	}
	return found
}

// known is the Type of what CEL has found out.
func (c *Checker) known(t *cel.Type) *Type {
	if object := c.objects[t.TypeName()]; object != nil && t.Kind() == types.StructKind {
		return object
	}
	if t.Kind() == types.ListKind && len(t.Parameters()) == 1 {
		return List(c.known(t.Parameters()[0]))
	}
	return &Type{cel: t}
}

// walk looks at what CEL itself does not: it has no equality between types, and no lists of allowed values.
type walk struct {
	c      *Checker
	tree   *ast.AST
	faults []*Error
}

func (w *walk) visit(e ast.Expr) {
	if e.Kind() != ast.CallKind {
		return
	}
	call := e.AsCall()
	switch args := call.Args(); call.FunctionName() {
	case opEquals, opNotEquals:
		w.compared(e, args[0], args[1])
	case opIn:
		if args[1].Kind() == ast.ListKind {
			for _, element := range args[1].AsList().Elements() {
				w.compared(e, args[0], element)
			}
		}
		if t := w.c.resolve(args[1]); t != nil && t.fields != nil {
			w.member(t, args[0])
		}
	case "_[_]":
		if t := w.c.resolve(args[0]); t != nil && t.fields != nil {
			w.member(t, args[1])
		}
	}
}

// compared looks at two values that are compared for equality.
func (w *walk) compared(at, x, y ast.Expr) {
	l, r := w.tree.GetType(x.ID()), w.tree.GetType(y.ID())
	if !equatable(l, r) {
		w.fault(at, "%s", mismatch(operatorOf(at), l.String(), r.String()))
		return
	}
	w.allowed(x, y)
	w.allowed(y, x)
}

// equatable tells whether values of the two types can be equal.
func equatable(l, r *types.Type) bool {
	if l.IsAssignableType(r) || r.IsAssignableType(l) {
		return true
	}
	kinds := func(a, b *types.Type) bool {
		return a.TypeName() == amountType.TypeName() && b.TypeName() == "string" || a.Kind() == types.StructKind && b.Kind() == types.MapKind || a.Kind() == types.NullTypeKind
	}
	return kinds(l, r) || kinds(r, l) || l.Kind() == types.DynKind || r.Kind() == types.DynKind
}

// allowed looks whether a text that a value is compared with is among the only ones that it can be.
func (w *walk) allowed(x, y ast.Expr) {
	t := w.c.resolve(x)
	if t == nil || len(t.values) == 0 || y.Kind() != ast.LiteralKind {
		return
	}
	if text, ok := y.AsLiteral().(types.String); ok && !slices.Contains(t.values, string(text)) {
		w.fault(y, "%s is never %q; %s", written(x), string(text), meant(string(text), t.values))
	}
}

// member looks whether a field that is asked for by a text can be there.
func (w *walk) member(t *Type, name ast.Expr) {
	if name.Kind() != ast.LiteralKind {
		return
	}
	text, _ := name.AsLiteral().(types.String)
	if _, ok := t.field(string(text)); !ok {
		w.fault(name, "%s", absent(t, string(text)))
	}
}

func (w *walk) fault(e ast.Expr, format string, args ...any) {
	at := w.tree.SourceInfo().GetStartLocation(e.ID())
	w.faults = append(w.faults, &Error{Line: max(at.Line(), 1), Column: at.Column() + 1, Message: unmarked(fmt.Sprintf(format, args...))})
}

// resolve is the Type of a variable, or of a member or element of one, nil for other expressions.
func (c *Checker) resolve(e ast.Expr) *Type {
	switch e.Kind() {
	case ast.IdentKind:
		return c.vars[e.AsIdent()]
	case ast.CallKind:
		if call := e.AsCall(); call.FunctionName() == "_[_]" && len(call.Args()) == 2 {
			if of := c.resolve(call.Args()[0]); of != nil {
				return of.element
			}
		}
	case ast.SelectKind:
		if of := c.resolve(e.AsSelect().Operand()); of != nil && of.fields != nil {
			f, _ := of.field(e.AsSelect().FieldName())
			return f
		}
	}
	return nil
}

// written is a chain of members as it stands in the source.
func written(e ast.Expr) string {
	if e.Kind() == ast.SelectKind {
		return written(e.AsSelect().Operand()) + "." + e.AsSelect().FieldName()
	}
	if e.Kind() == ast.IdentKind {
		return e.AsIdent()
	}
	return "…"
}

func meant(name string, known []string) string {
	if n := nearest.Of(name, known); n != "" {
		return "did you mean " + n + "?"
	}
	if len(known) == 0 {
		return "there is none"
	}
	return "there are " + strings.Join(known, ", ")
}

func absent(t *Type, field string) string {
	return fmt.Sprintf("%s has no field %s; %s", t, field, meant(field, slices.Sorted(maps.Keys(t.fields))))
}

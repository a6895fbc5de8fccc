package expr

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/cockroachdb/apd/v3"
)

// Equality and membership are built into CEL's interpreter, where an int would be unequal to any dec, and map literals are
// walked in an order that changes from one evaluation to the next. Expressions call these instead; their names cannot be
// written in an expression.
const (
	opEquals    = "@equals"
	opNotEquals = "@differs"
	opIn        = "@contains"
	opOrdered   = "@ordered"
)

// language is CEL's standard library without doubles and with dec; equalities declares equality and membership.
func language(equalities func(name, renamed string) (*decls.FunctionDecl, error)) ([]cel.EnvOption, error) {
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(adapter{}),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.CrossTypeNumericComparisons(false),
		cel.Function("dec",
			cel.Overload("dec_string", []*cel.Type{cel.StringType}, decType),
			cel.Overload("dec_int", []*cel.Type{cel.IntType}, decType),
			cel.Overload("dec_dec", []*cel.Type{decType}, decType),
			cel.SingletonUnaryBinding(makeDec)),
		cel.Function(overloads.TypeConvertString, cel.Overload("string_dec", []*cel.Type{decType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return v.ConvertToType(types.StringType) }))),
		cel.Function(overloads.TypeConvertInt, cel.Overload("int_dec", []*cel.Type{decType}, cel.IntType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return v.ConvertToType(types.IntType) }))),
	}
	options = append(options, textFunctions()...)
	key, value := cel.TypeParamType("K"), cel.TypeParamType("V")
	options = append(options, cel.Function(opOrdered,
		cel.Overload("ordered_map", []*cel.Type{cel.MapType(key, value)}, cel.MapType(key, value), cel.UnaryBinding(ordered))))
	replaced := []*env.Function{{Name: overloads.TypeConvertDouble}}
	for name, binding := range bindings() {
		fn, err := redeclare(name, binding)
		if err != nil {
			return nil, err
		}
		options = append(options, cel.FunctionDecls(fn))
		replaced = append(replaced, &env.Function{Name: name})
	}
	for name, renamed := range renames() {
		fn, err := equalities(name, renamed)
		if err != nil {
			return nil, err
		}
		options = append(options, cel.FunctionDecls(fn))
	}
	std := cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: replaced}))
	return append([]cel.EnvOption{std}, options...), nil
}

// bindings gives the operators that know dec.
func bindings() map[string]decls.FunctionOpt {
	order := func(holds func(cmp int) bool) decls.FunctionOpt {
		return decls.SingletonBinaryBinding(func(l, r ref.Val) ref.Val { return compare(l, r, holds) })
	}
	return map[string]decls.FunctionOpt{
		operators.Add:           decls.SingletonBinaryBinding(add),
		operators.Subtract:      decls.SingletonBinaryBinding(subtract),
		operators.Multiply:      decls.SingletonBinaryBinding(multiply),
		operators.Negate:        decls.SingletonUnaryBinding(negate),
		operators.Less:          order(func(cmp int) bool { return cmp < 0 }),
		operators.LessEquals:    order(func(cmp int) bool { return cmp <= 0 }),
		operators.Greater:       order(func(cmp int) bool { return cmp > 0 }),
		operators.GreaterEquals: order(func(cmp int) bool { return cmp >= 0 }),
	}
}

// redeclare is a standard operator without its overloads for doubles and with those for dec.
func redeclare(name string, binding decls.FunctionOpt) (*decls.FunctionDecl, error) {
	options := []decls.FunctionOpt{binding}
	result := decType
	for _, o := range standard(name).OverloadDecls() {
		if slices.Contains(o.ArgTypes(), types.DoubleType) {
			continue
		}
		if o.ResultType() == types.BoolType {
			result = types.BoolType
		}
		options = append(options, decls.Overload(o.ID(), o.ArgTypes(), o.ResultType()))
	}
	if name == operators.Negate {
		return decls.NewFunction(name, append(options, decls.Overload("negate_dec", []*types.Type{decType}, decType))...)
	}
	for suffix, args := range map[string][]*types.Type{
		"_dec_dec": {decType, decType}, "_dec_int": {decType, types.IntType}, "_int_dec": {types.IntType, decType},
	} {
		options = append(options, decls.Overload(name+suffix, args, result))
	}
	return decls.NewFunction(name, options...)
}

func renames() map[string]string {
	return map[string]string{operators.Equals: opEquals, operators.NotEquals: opNotEquals, operators.In: opIn}
}

// equality is a standard operator under its new name.
func equality(name, renamed string) (*decls.FunctionDecl, error) {
	binding := map[string]functions.BinaryOp{
		opEquals:    equals,
		opNotEquals: differs,
		opIn:        contains,
	}[renamed]
	options := []decls.FunctionOpt{decls.SingletonBinaryBinding(binding)}
	for _, o := range standard(name).OverloadDecls() {
		options = append(options, decls.Overload(o.ID(), o.ArgTypes(), o.ResultType()))
	}
	return decls.NewFunction(renamed, options...)
}

// anything is an operator of equality that takes values of all types: a Checker tells itself which compare.
func anything(_, renamed string) (*decls.FunctionDecl, error) {
	return decls.NewFunction(renamed, decls.Overload(renamed+"_dyn", []*types.Type{types.DynType, types.DynType}, types.BoolType))
}

func standard(name string) *decls.FunctionDecl {
	for _, fn := range stdlib.Functions() {
		if fn.Name() == name {
			return fn
		}
	}
	return nil
}

func isDec(vs ...ref.Val) bool {
	return slices.ContainsFunc(vs, func(v ref.Val) bool { _, ok := v.(dec); return ok })
}

func add(l, r ref.Val) ref.Val {
	if isDec(l, r) {
		return compute((*apd.Context).Add, l, r)
	}
	adder, ok := l.(traits.Adder)
	if !ok {
		return types.MaybeNoSuchOverloadErr(l)
	}
	if size(l)+size(r) > maxLength {
		return errTooLong()
	}
	return adder.Add(r)
}

func subtract(l, r ref.Val) ref.Val {
	if isDec(l, r) {
		return compute((*apd.Context).Sub, l, r)
	}
	if subtractor, ok := l.(traits.Subtractor); ok {
		return subtractor.Subtract(r)
	}
	return types.MaybeNoSuchOverloadErr(l)
}

func multiply(l, r ref.Val) ref.Val {
	if isDec(l, r) {
		return compute((*apd.Context).Mul, l, r)
	}
	if multiplier, ok := l.(traits.Multiplier); ok {
		return multiplier.Multiply(r)
	}
	return types.MaybeNoSuchOverloadErr(l)
}

func negate(v ref.Val) ref.Val {
	if d, ok := v.(dec); ok {
		return dec{value: new(apd.Decimal).Neg(d.value), number: d.number}
	}
	if n, ok := v.(types.Int); ok {
		return n.Negate()
	}
	return types.MaybeNoSuchOverloadErr(v)
}

func compare(l, r ref.Val, holds func(cmp int) bool) ref.Val {
	if isDec(l, r) {
		x, okX := toDec(l)
		y, okY := toDec(r)
		if !okX || !okY {
			return types.NewErr("a dec compares with dec and int only, not with %s and %s", l.Type().TypeName(), r.Type().TypeName())
		}
		return types.Bool(holds(x.value.Cmp(y.value)))
	}
	comparer, ok := l.(traits.Comparer)
	if !ok {
		return types.MaybeNoSuchOverloadErr(l)
	}
	cmp, ok := comparer.Compare(r).(types.Int)
	if !ok {
		return types.MaybeNoSuchOverloadErr(r)
	}
	return types.Bool(holds(int(cmp)))
}

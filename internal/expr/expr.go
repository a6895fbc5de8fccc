// Package expr is the expression language of policies and workflows: the Common Expression Language, with exact decimals
// in the place of floating-point numbers.
//
// Contract: an expression is compiled once, against the names of its variables, and evaluated any number of times, also
// concurrently. It has no effect, reads no clock and gives the same value for the same variables; maps are walked in the
// order of their keys. Evaluation is bounded in work and memory and never panics.
//
// Numbers: no double exists here. Literals with a fraction are refused when compiled. JSON integers that fit 64 bits are
// CEL ints, whose overflow is an error; every other JSON number is a dec, exact and of up to 200 digits. dec("12.50")
// makes a decimal of text, dec(3) of an int. A dec adds, subtracts, multiplies and compares with decs and ints, without
// ever rounding; there is no division of decs, as it would. Equality asks for one type where both are known when
// compiled, as everywhere in CEL: dec("5") == dec(5). string(dec) is its plain notation, int(dec) its value when that is
// whole.
//
// Beside CEL's standard functions there are dec, and of its string extension lowerAscii, split, join and substring.
//
// What is compiled runs on values of any type: variables are dyn there, and an absent field is an error of the evaluation. Where
// types are known before (a JSON Schema tells them), a Checker finds such faults without running anything.
package expr

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	maxSource = 16 << 10  // bytes of an expression
	maxCost   = 1_000_000 // CEL cost units of one evaluation: a few milliseconds
)

// Program is a compiled expression, safe for concurrent use.
type Program struct {
	source  string
	program cel.Program
	reads   map[string]*reading // by variable
}

// Error says where an expression cannot be compiled, and why. Line and Column count from 1.
type Error struct {
	Line    int
	Column  int
	Message string
}

// Error is the message with its place.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Env knows the names of variables that expressions may use. Making one takes about a millisecond: keep it where many
// expressions have the same variables.
type Env struct{ env *cel.Env }

// NewEnv makes an environment of the top-level variables, all of dynamic type.
func NewEnv(vars ...string) (*Env, error) {
	options, err := language(equality)
	if err != nil {
		return nil, fmt.Errorf("the expression language is inconsistent: %w", err)
	}
	for _, name := range vars {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewCustomEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("the variables %s: %w", strings.Join(vars, ", "), err)
	}
	return &Env{env: env}, nil
}

// Compile compiles src. The error is an *Error when src is at fault.
func (e *Env) Compile(src string) (p *Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, &Error{Line: 1, Column: 1, Message: "the expression cannot be compiled"}
		}
	}()
	if len(src) > maxSource {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the expression is longer than %d bytes", maxSource)}
	}
	ast, issues := e.env.Parse(src)
	if err := firstIssue(issues); err != nil {
		return nil, err
	}
	if err := rewrite(ast.NativeRep()); err != nil {
		return nil, err
	}
	ast, issues = e.env.Check(ast)
	if err := firstIssue(issues); err != nil {
		return nil, err
	}
	program, err := e.env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	return &Program{source: src, program: program, reads: readings(ast.NativeRep().Expr())}, nil
}

func firstIssue(issues *cel.Issues) error {
	if issues.Err() == nil {
		return nil
	}
	return issue(issues.Errors()[0])
}

// Source is the text that was compiled.
func (p *Program) Source() string { return p.source }

// Eval gives the expression's value as JSON has it: map[string]any, []any, string, bool, json.Number or nil. A decimal
// made by dec() comes back as a string, as amounts are written; a number that came in as a JSON number, as a json.Number.
// Variables hold what Decode gives, or plain Go values of those kinds, json.RawMessage, and func() any for what is costly
// to make.
func (p *Program) Eval(vars map[string]any) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("evaluating the expression failed: %v", r)
		}
	}()
	out, err := p.eval(vars)
	if err != nil {
		return nil, err
	}
	o := output{left: maxOutput}
	return o.value(out, 0)
}

// Bool evaluates a condition. A value that is not true or false is an error.
func (p *Program) Bool(vars map[string]any) (bool, error) {
	out, err := p.eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the condition gives a %s, not true or false", out.Type().TypeName())
	}
	return bool(b), nil
}

func (p *Program) eval(vars map[string]any) (out ref.Val, err error) {
	if vars == nil {
		vars = map[string]any{}
	}
	out, _, err = p.program.Eval(vars)
	if err != nil {
		return nil, fmt.Errorf("evaluating the expression: %w", err)
	}
	if out == nil || types.IsUnknownOrError(out) {
		return nil, fmt.Errorf("evaluating the expression: it has no value")
	}
	return out, nil
}

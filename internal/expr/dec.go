package expr

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/cockroachdb/apd/v3"
)

const maxDigits = 200 // of a decimal, before and after the point together

// decType is the decimal's type as expressions see it.
var decType = types.NewOpaqueType("dec")

// exact computes without rounding: what apd would have to round is an error.
var exact = apd.Context{MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Traps: apd.DefaultTraps | apd.Rounded | apd.Inexact}

// dec is an exact decimal number, immutable. A number is one that came from a JSON number and leaves as one.
type dec struct {
	value  *apd.Decimal
	number bool
}

// parseDec reads plain notation, 12.50, and for JSON numbers also an exponent.
func parseDec(s string, number bool) (dec, error) {
	if len(s) > maxDigits+2 || !plainDecimal(s, number) {
		return dec{}, fmt.Errorf("a decimal is written with digits and at most one point, up to %d digits", maxDigits)
	}
	value, _, err := exact.NewFromString(s)
	if err != nil {
		return dec{}, fmt.Errorf("not a decimal number: %w", err)
	}
	return bounded(value, number)
}

// plainDecimal is the syntax: -?digits(.digits)?, with an exponent when allowed.
func plainDecimal(s string, exponent bool) bool {
	digits := func() int {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n
	}
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	if digits() == 0 {
		return false
	}
	if s != "" && s[0] == '.' {
		if s = s[1:]; digits() == 0 {
			return false
		}
	}
	if exponent && s != "" && s[0]|0x20 == 'e' {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if digits() == 0 {
			return false
		}
	}
	return s == ""
}

// bounded refuses numbers whose plain notation would be longer than maxDigits.
func bounded(value *apd.Decimal, number bool) (dec, error) {
	digits, exponent := value.NumDigits(), int64(value.Exponent)
	if value.Form != apd.Finite || digits > maxDigits || exponent < -maxDigits || exponent > 0 && digits+exponent > maxDigits {
		return dec{}, fmt.Errorf("a decimal has more than %d digits", maxDigits)
	}
	return dec{value: value, number: number}, nil
}

// text is the plain notation.
func (d dec) text() string { return d.value.Text('f') }

// toDec takes what computes with decimals: a dec or an int.
func toDec(v ref.Val) (dec, bool) {
	switch v := v.(type) {
	case dec:
		return v, true
	case types.Int:
		return dec{value: apd.New(int64(v), 0), number: true}, true
	}
	return dec{}, false
}

// makeDec is the function dec().
func makeDec(v ref.Val) ref.Val {
	if s, ok := v.(types.String); ok {
		d, err := parseDec(string(s), false)
		if err != nil {
			return types.WrapErr(err)
		}
		return d
	}
	d, ok := toDec(v)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	d.number = false
	return d
}

// compute applies an operation of apd to two numbers of which at least one is a dec.
func compute(op func(c *apd.Context, d, x, y *apd.Decimal) (apd.Condition, error), l, r ref.Val) ref.Val {
	x, okX := toDec(l)
	y, okY := toDec(r)
	if !okX || !okY {
		return types.NewErr("a dec computes with dec and int only, not with %s and %s", l.Type().TypeName(), r.Type().TypeName())
	}
	out := new(apd.Decimal)
	if _, err := op(&exact, out, x.value, y.value); err != nil {
		return types.WrapErr(err)
	}
	d, err := bounded(out, x.number && y.number)
	if err != nil {
		return types.WrapErr(err)
	}
	return d
}

// ConvertToNative is part of ref.Val: decimals leave through toJSON only.
func (d dec) ConvertToNative(want reflect.Type) (any, error) {
	return nil, fmt.Errorf("a dec has no Go value of type %v", want)
}

// ConvertToType is part of ref.Val: string(d), int(d), type(d).
func (d dec) ConvertToType(want ref.Type) ref.Val {
	switch want {
	case types.StringType:
		return types.String(d.text())
	case types.IntType:
		n, err := d.value.Int64()
		if err != nil {
			return types.NewErr("the dec is not a whole number of 64 bits")
		}
		return types.Int(n)
	case types.TypeType:
		return decType
	}
	return types.NewErr("a dec does not convert to %s", want.TypeName())
}

// Equal is part of ref.Val; expressions compare with equal, which also takes the operands the other way round.
func (d dec) Equal(other ref.Val) ref.Val {
	o, ok := toDec(other)
	return types.Bool(ok && d.value.Cmp(o.value) == 0)
}

// Type is part of ref.Val.
func (d dec) Type() ref.Type { return decType }

// Value is part of ref.Val.
func (d dec) Value() any { return d.text() }

package expr_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/expr"
)

// vars is what the tests' expressions see, as Decode gives it.
func vars(t testing.TB) map[string]any {
	t.Helper()
	m, err := expr.Decode([]byte(`{
		"type": "transfer.v1", "amount": "1000000000000000000000", "small": 5, "big": 18446744073709551617,
		"bigger": 18446744073709551618, "fraction": 1.10, "list": [3, 1, 2], "none": null, "flag": true,
		"body": {"to": "0xAb", "z": 1, "a": 2, "m": 3}}`))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"m": m}
}

// compile compiles against top-level variables.
func compile(src string, vars ...string) (*expr.Program, error) {
	env, err := expr.NewEnv(vars...)
	if err != nil {
		return nil, err
	}
	return env.Compile(src)
}

func eval(t testing.TB, src string) (any, error) {
	t.Helper()
	p, err := compile(src, "m")
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return p.Eval(vars(t))
}

func TestValues(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	for src, want := range map[string]any{
		`m.type`:                  "transfer.v1",
		`m.type == "transfer.v1"`: true,
		`m.flag && m.small > 4`:   true,
		`m.none`:                  nil,
		`m.none == null`:          true,
		`m.small + 1`:             n("6"),
		`7 / 2`:                   n("3"),
		`has(m.body.to)`:          true,
		`has(m.body.absent)`:      false,
		`m.list`:                  []any{n("3"), n("1"), n("2")},
		`m.list.map(x, x * 2)`:    []any{n("6"), n("2"), n("4")},
		`m.body`:                  map[string]any{"to": "0xAb", "z": n("1"), "a": n("2"), "m": n("3")},
		`{"a": [m.small]}`:        map[string]any{"a": []any{n("5")}},
		`m.body.to.lowerAscii()`:  "0xab",
		`m.type.substring(0, 8)`:  "transfer",
		`m.type.substring(9)`:     "v1",
		`m.type.split(".")`:       []any{"transfer", "v1"},
		`["a", "b"].join("-")`:    "a-b",
		`"a" in ["a", "b"]`:       true,
		`"to" in m.body`:          true,
		`"x" in m.body`:           false,
		`duration("90s")`:         "1m30s",
		`timestamp(0)`:            "1970-01-01T00:00:00Z",

		// Decimals are exact, and text when they leave.
		`dec("0.1") + dec("0.2") == dec("0.3")`:                              true,
		`dec("0.1") + dec("0.2")`:                                            "0.3",
		`dec(m.amount) > dec("999999999999999999999.999999999999999999")`:    true,
		`dec(m.amount) * dec("1.000000000000000001")`:                        "1000000000000000001000.000000000000000000",
		`string(dec("12.50") - dec(10))`:                                     "2.50",
		`-dec("1.5")`:                                                        "-1.5",
		`dec("5.0") == m.small`:                                              true,
		`dec(5) == dec("5.0")`:                                               true,
		`m.small == dec("5")`:                                                true,
		`m.small != dec("5")`:                                                false,
		`dec("5") in m.list.map(x, x + 4)`:                                   true,
		`[1, m.small] == [dec("1"), dec("5")]`:                               true,
		`{"a": dec("5")} == {"a": m.small}`:                                  true,
		`1 < dec("1.5") && dec("1.5") < 2 && dec("2") >= 2 && 2 <= dec("2")`: true,
		`int(dec("12"))`:                                                     n("12"),
		`dec("115792089237316195423570985008687907853269984665640564039457584007913129639935") + 1`: "115792089237316195423570985008687907853269984665640564039457584007913129639936",

		// JSON numbers beyond 64 bits, and with a fraction, stay what they are.
		`m.big`:                                n("18446744073709551617"),
		`m.big == m.bigger`:                    false,
		`m.big + 1 == m.bigger`:                true,
		`m.bigger - m.big`:                     n("1"),
		`m.fraction`:                           n("1.10"),
		`m.fraction < 2`:                       true,
		`m.big < m.bigger`:                     true,
		`dec("18446744073709551617") == m.big`: true,
		`18446744073709551615u == 18446744073709551615u`: true,
	} {
		if got, err := eval(t, src); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %#v, %v, want %#v", src, got, err, want)
		}
	}
}

func TestEvaluationRefused(t *testing.T) {
	for _, src := range []string{
		`m.absent`, `m.type.absent`, `m.small + "a"`, `m.type + 1`, `m.none + 1`, `m.list[9]`, `1 / (m.small - 5)`,
		`9223372036854775807 + m.small`, `m.small * 9223372036854775807`,
		`dec(m.type)`, `dec("")`, `dec("1e3")`, `dec("1.")`, `dec(".5")`, `dec(" 1")`, `dec("NaN")`, `dec("Infinity")`, `dec("+1")`, `dec("0x10")`,
		`dec("` + strings.Repeat("9", 201) + `")`, `dec(m.none)`, `dec(m.flag)`,
		`dec("1") + m.type`, `dec("1") < m.type`, `m.flag < dec("1")`, `int(dec("1.5"))`, `int(dec("9223372036854775808"))`,
		`m.list.map(x, x == 3 ? m : m)[0] + 1`, `{1: 2}`, `type(m)`, `dec`, `m.small > m.type`,
		`m.type.substring(5, 4)`, `m.type.substring(-1)`, `m.type.substring(0, 99)`, `[1].join("")`, `m.list.join("")`, `m.small.lowerAscii()`,
	} {
		p, err := compile(src, "m")
		if err != nil {
			continue // refused even earlier
		}
		if got, err := p.Eval(vars(t)); err == nil {
			t.Errorf("%s = %#v, want an error", src, got)
		}
	}
}

func TestNoFloat(t *testing.T) {
	for _, src := range []string{`0.5`, `m.small * 1.5`, `dec("1") + 0.1`, `[1, [0.5]]`, `{"a": 1e3}`, `m.list.map(x, x + 0.5)`} {
		_, err := compile(src, "m")
		var at *expr.Error
		if !errors.As(err, &at) || !strings.Contains(at.Message, "dec(") {
			t.Errorf("%s: got %v, want a pointer to dec()", src, err)
		}
	}
	if _, err := compile(`double("0.5")`); err == nil {
		t.Error("double() was accepted")
	}
	p, err := compile(`m.x`, "m")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := p.Eval(map[string]any{"m": map[string]any{"x": 0.1}}); err == nil {
		t.Errorf("a Go float came through as %v", v)
	}
}

func TestCompileErrorsHaveAPlace(t *testing.T) {
	for src, want := range map[string]string{
		"m.a &&\n  n.b":           "2:3: undeclared reference to 'n'",
		"1 == \"a\"":              "1:3: == does not take int and string",
		"5 == dec(\"5\")":         "1:3: == does not take int and dec; make a decimal of the whole number too: dec(…)",
		"m.a +":                   "1:6: Syntax error",
		"\n\n 1.5":                "3:2: a number with a fraction",
		"dec(\"1\") / dec(\"2\")": "1:10: / does not take dec and dec",
	} {
		_, err := compile(src, "m")
		var at *expr.Error
		if !errors.As(err, &at) || !strings.HasPrefix(at.Error(), want) {
			t.Errorf("%q: got %v, want %s", src, err, want)
		}
	}
}

func TestMapsAreWalkedInOrder(t *testing.T) {
	for range 20 {
		got, err := eval(t, `[m.body.map(k, k), {"c": 1, "a": 2, "b": 3}.map(k, k)]`)
		want := []any{[]any{"a", "m", "to", "z"}, []any{"a", "b", "c"}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	thousand := "[" + strings.Repeat("1,", 999) + "1]"
	for name, src := range map[string]string{
		"loops":   `m.l.all(a, m.l.all(b, m.l.all(c, a + b + c > 0)))`,
		"strings": `[m.s].map(x, x + x)` + strings.Repeat(`.map(x, x + x)`, 60),
		"join":    `m.l.map(a, m.l.map(b, m.s).join(m.s)).join(m.s)`,
		"lists":   `[m.l].map(x, x + x)` + strings.Repeat(`.map(x, x + x)`, 60),
		"nesting": `[[m.l]].map(x, [x, x])` + strings.Repeat(`.map(x, [x, x])`, 60),
		"shared":  `[[m.s]].map(x, [x, x])` + strings.Repeat(`.map(x, x + x)`, 18),
		"equal":   `[[1]].map(x, [x, x])` + strings.Repeat(`.map(x, [x, x])`, 60) + ` == [[1]].map(x, [x, x])` + strings.Repeat(`.map(x, [x, x])`, 60),
		"decs":    `[dec("9")].map(x, x * x)` + strings.Repeat(`.map(x, x * x)`, 60),
	} {
		p, err := compile(src, "m")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		l, err := expr.Decode([]byte(thousand))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Eval(map[string]any{"m": map[string]any{"l": l, "s": strings.Repeat("a", 1000)}}); err == nil {
			t.Errorf("%s: evaluated to the end", name)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	v := vars(b)
	for name, src := range map[string]string{
		"text": `m.type == "transfer.v1"`,
		"dec":  `dec(m.amount) <= dec("1000000000000000000000")`,
	} {
		p, err := compile(src, "m")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := p.Bool(v); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			if _, err := compile(`m.type == "transfer.v1"`, "m"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

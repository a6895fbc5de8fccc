package expr_test

import (
	"encoding/json"
	"testing"

	"github.com/avalhq/aval/internal/expr"
)

// FuzzExpression: whatever the source and the variables, there is a value or an error, and the value is JSON.
func FuzzExpression(f *testing.F) {
	for _, src := range []string{
		`m.amount`, `dec(m.amount) * dec("1.5") > 10`, `m.list.filter(x, x > 1).map(x, [x, {"a": x}])`, `m.a.b == {"c": [1, dec("1")]}`,
		`has(m.a.b) ? m.a.b : null`, `"x" + string(dec("1.0"))`, `m.text.matches("^a+$") || m.text.startsWith("b")`, `timestamp(0) + duration("1h")`,
		`m.text.split("")`, `-m.amount % 3`, `[1, 2].exists_one(x, x in m.list)`, `int("1") == 1u`, `b"\xff"`, `size(m)`, `"\U0001F600".substring(0, 1)`,
	} {
		f.Add(src, []byte(`{"amount": 18446744073709551617, "list": [1, 2.50, 3], "a": {"b": {"c": [1, 1]}}, "text": "aaa"}`))
	}
	f.Add(`m`, []byte(`[1e200, -1e-199, 1E+3]`))
	f.Fuzz(func(t *testing.T, src string, data []byte) {
		v, err := expr.Decode(data)
		if err != nil {
			v = nil
		}
		p, err := compile(src, "m")
		if err != nil {
			return
		}
		out, err := p.Eval(map[string]any{"m": v})
		if err != nil {
			return
		}
		first, err := json.Marshal(out)
		if err != nil {
			t.Fatalf("%q gives %#v, which is not JSON: %v", src, out, err)
		}
		again, err := p.Eval(map[string]any{"m": v})
		if err != nil {
			t.Fatalf("%q gives a value once and then %v", src, err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(first) {
			t.Fatalf("%q gives %s and then %s", src, first, second)
		}
	})
}

// FuzzCheck: whatever the expression and the schema, the checker comes to an end, and every fault has a place.
func FuzzCheck(f *testing.F) {
	f.Add(`m.body.amount < m.body.lines[0].price || "x" in m.body`, []byte(order))
	f.Add(`m.body.all(x, m.body[x] == m.body.left.left.left)`, []byte(`{"type": "object", "properties": {"left": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}`))
	f.Fuzz(func(t *testing.T, src string, schema []byte) {
		body, err := expr.Schema("m.body", schema)
		if err != nil {
			return
		}
		c, err := expr.NewChecker(map[string]*expr.Type{"m": expr.Object("m", map[string]*expr.Type{"body": body}, false)})
		if err != nil {
			t.Fatal(err)
		}
		found := c.Check(src)
		for _, fault := range append(found.Faults, found.Warnings...) {
			if fault.Line < 1 || fault.Column < 1 {
				t.Fatalf("a fault has no place: %+v", fault)
			}
		}
	})
}

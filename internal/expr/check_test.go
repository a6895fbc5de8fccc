package expr_test

import (
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/expr"
)

const order = `{"type": "object", "additionalProperties": false, "required": ["amount"], "properties": {
	"amount": {"type": "string", "format": "amount"},
	"fee": {"type": "string", "format": "uint256"},
	"to": {"type": "string", "maxLength": 64},
	"currency": {"type": "string", "enum": ["EURT", "USDT"]},
	"count": {"type": "integer"},
	"rate": {"type": "number"},
	"urgent": {"type": "boolean"},
	"note": {"type": ["string", "null"]},
	"lines": {"type": "array", "maxItems": 50, "items": {"$ref": "#/$defs/line"}},
	"all": {"type": "array", "items": {"type": "string"}},
	"tags": {"type": "object", "additionalProperties": {"type": "integer"}},
	"free": {"type": "object", "properties": {"known": {"type": "string"}}},
	"either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
	"tree": {"$ref": "#/$defs/tree"}},
	"$defs": {
		"line": {"type": "object", "additionalProperties": false, "properties": {"price": {"type": "string", "format": "amount"}, "text": {"type": "string"}}},
		"tree": {"type": "object", "additionalProperties": false, "properties": {"left": {"$ref": "#/$defs/tree"}, "size": {"type": "integer"}}}}}`

func checker(t testing.TB) *expr.Checker {
	t.Helper()
	body, err := expr.Schema("m.body", []byte(order))
	if err != nil {
		t.Fatal(err)
	}
	message := expr.Object("m", map[string]*expr.Type{"id": expr.Text(), "body": body, "expires": expr.Int()}, false)
	c, err := expr.NewChecker(map[string]*expr.Type{"m": message, "v": expr.Dyn()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheckerFinds(t *testing.T) {
	c := checker(t)
	for src, want := range map[string]string{
		`m.body.amuont`:                                 "1:8: m.body has no field amuont; did you mean amount?",
		"m.id ==\n  m.body.too":                         "2:10: m.body has no field too; did you mean to?",
		`has(m.body.nothing.here)`:                      "1:12: m.body has no field nothing; there are all, amount,",
		`m.body.lines[0].prize`:                         "1:17: m.body.lines[] has no field prize; did you mean price?",
		`m.body.lines.exists(l, l.prize == "1")`:        "undefined field 'prize'",
		`m.body.tree.left.left.rigt`:                    "1:23: m.body.tree.left.left has no field rigt",
		`m.body["amuont"]`:                              "1:8: m.body has no field amuont; did you mean amount?",
		`"amuont" in m.body`:                            "1:1: m.body has no field amuont",
		`m.body.amount < "10"`:                          "1:15: < does not take amount and string; an amount is text: make a decimal of it, dec(…)",
		`m.body.amount < m.body.fee`:                    "< does not take amount and amount; an amount is text",
		`m.body.amount >= v.limit`:                      ">= does not take amount and dyn; an amount is text",
		`10 > m.body.amount`:                            "> does not take int and amount",
		`dec("1") + m.body.amount`:                      "+ does not take dec and amount; an amount is text",
		`m.body.amount + m.body.fee`:                    "+ does not take amount and amount",
		`m.body.lines.map(l, l.price).exists(p, p < v)`: "< does not take amount and dyn",
		`m.body.amount == 10`:                           "1:15: == does not take amount and int; an amount is text",
		`m.body.count == "1"`:                           "== does not take int and string",
		`m.body.count in ["1"]`:                         "in does not take int and string",
		`m.body.rate == 2`:                              "== does not take dec and int; make a decimal of the whole number too",
		`m.body.count + "1"`:                            "+ does not take int and string",
		`m.body.urgent > 1`:                             "> does not take bool and int",
		`m.body.currency == "EURR"`:                     `1:20: m.body.currency is never "EURR"; did you mean EURT?`,
		`m.body.currency in ["EURT", "GBPT"]`:           `1:29: m.body.currency is never "GBPT"`,
		`m.body.to.foo`:                                 "type 'string' does not support field selection",
		`m.body.urgent ? m.body.amount : "0"`:           "? : does not take bool and amount and string; both sides",
		`m.body.all.all(a, m.body.all.all(b, a != b))`:  "",
		`[1, 2].all(x, x.y)`:                            "type 'int' does not support field selection",
		`m.body.amount.lowerAscii()`:                    "lowerAscii does not take amount; an amount is text",
		`m.body.amount * 2 > 1`:                         "* does not take amount and int",
	} {
		found := c.Check(src)
		var got []string
		for _, f := range found.Faults {
			got = append(got, f.Error())
		}
		if want != "" && (len(got) == 0 || !strings.Contains(got[0], want)) || want == "" && len(got) > 0 {
			t.Errorf("%s: got %q, want %q", src, got, want)
		}
	}
}

func TestCheckerTakes(t *testing.T) {
	c := checker(t)
	for src, kind := range map[string]string{
		`dec(m.body.amount) > dec(m.body.fee)`:                           "bool",
		`m.body.amount == "10" && m.body.amount != m.body.fee`:           "bool",
		`m.body.amount in ["1", "2"] && m.body.amount != null`:           "bool",
		`"sends " + m.body.amount + " to " + m.body.to`:                  "string",
		`m.body.amount.startsWith("1") && size(m.body.amount) < 5`:       "bool",
		`m.body.free.unknown.at.all`:                                     "string",
		`m.body.tags["a"] + m.body.tags.b > m.body.count`:                "bool",
		`m.body["to"] == "x" && "memo" in m.body.free`:                   "bool",
		`m.body.note == null || m.body.note == "x"`:                      "bool",
		`m.body.either == 1 || m.body.either == "1"`:                     "bool",
		`m.body.tree.left.left.size + 1`:                                 "int",
		`m.body.lines.filter(l, dec(l.price) > 5).map(l, l.text)`:        "list",
		`m.body == v.other || m.body == {"to": "x"}`:                     "bool",
		`m.body.rate * 2 < dec("1.5") && m.body.count < m.body.rate`:     "bool",
		`v.anything.goes[3] + 1 == v`:                                    "bool",
		`{"a": m.body.amount, "b": [m.body.count, m.body.to]}`:           "map",
		`dyn(m.body).map(k, k)`:                                          "list",
		`has(m.body.to) ? string(m.body.amount) : "0"`:                   "string",
		`int(m.body.count) == 18446744073709551615 - 1 || m.expires > 5`: "",
	} {
		found := c.Check(src)
		if kind == "" {
			continue
		}
		if len(found.Faults) > 0 || !found.Type.Is(kind) && !found.Type.Is("dyn") {
			t.Errorf("%s: got %v of type %s, want a %s", src, found.Faults, found.Type, kind)
		}
	}
}

// TestCost: what cannot be paid at best is a fault, what perhaps cannot a warning.
func TestCostIsEstimated(t *testing.T) {
	c := checker(t)
	for src, want := range map[string]int{
		`m.body.lines.all(a, m.body.lines.all(b, a.price == b.price))`:                    0, // 50 × 50
		`m.body.all.all(a, a != "x")`:                                                     0, // as many as are assumed
		`m.body.all.all(a, m.body.all.all(b, a != b))`:                                    1,
		`v.list.all(a, v.list.all(b, a != b))`:                                            1,
		`[1,2,3,4,5,6,7,8,9,10].all(a, m.body.lines.all(b, m.body.lines.all(c, c == b)))`: 0,
	} {
		if found := c.Check(src); len(found.Warnings) != want || len(found.Faults) > 0 {
			t.Errorf("%s: got the warnings %v and the faults %v, want %d warnings", src, found.Warnings, found.Faults, want)
		}
	}
	ten := `[1,2,3,4,5,6,7,8,9,10]`
	src := strings.Repeat(ten+`.map(x, `, 6) + "1" + strings.Repeat(")", 6)
	if found := c.Check(src); len(found.Faults) != 1 || !strings.Contains(found.Faults[0].Message, "costs at least") {
		t.Errorf("a million rounds: got %v", found.Faults)
	}
}

// TestCheckedAndCompiledAgree: what a Checker takes, Compile takes too.
func TestCheckedAndCompiledAgree(t *testing.T) {
	c := checker(t)
	for _, src := range []string{`m.body.amount == "1"`, `m.body.tags["a"] > 1`, `size(m.body) > 0`, `"a" in m.body.free`, `m.body.amount + "x"`, `m.body.rate < 5`} {
		if found := c.Check(src); len(found.Faults) > 0 {
			t.Errorf("%s: %v", src, found.Faults)
		}
		if _, err := compile(src, "m", "v"); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func BenchmarkNewChecker(b *testing.B) {
	for b.Loop() {
		checker(b)
	}
}

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/jsonpath"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// condition is the test of a choice in the JSONPath language: And, Or or Not of others, or one comparison.
type condition struct {
	operator string // "And", "Or", "Not", or the comparison's name without Path
	parts    []*condition
	variable *jsonpath.Path
	operand  any
	from     *jsonpath.Path // where the operand is, for the …Path operators
	compare  comparison
}

// comparison tells whether two values compare as asked. Values of a type that it does not compare do not.
type comparison func(left, right any) bool

// orders are the endings of the operators that compare.
var orders = map[string]func(order int) bool{
	"Equals":            func(o int) bool { return o == 0 },
	"LessThan":          func(o int) bool { return o < 0 },
	"GreaterThan":       func(o int) bool { return o > 0 },
	"LessThanEquals":    func(o int) bool { return o <= 0 },
	"GreaterThanEquals": func(o int) bool { return o >= 0 },
}

// typed compares two values of one type; ok is false where one is of another.
type typed func(left, right any) (order int, ok bool)

var kinds = map[string]typed{
	"String":    ordered(strings.Compare),
	"Numeric":   ordered(value.Compare),
	"Timestamp": timestamps,
	"Boolean":   booleans,
}

func ordered[T any](compare func(a, b T) int) typed {
	return func(left, right any) (int, bool) {
		l, ok := left.(T)
		r, also := right.(T)
		if !ok || !also {
			return 0, false
		}
		return compare(l, r), true
	}
}

func booleans(left, right any) (int, bool) {
	l, ok := left.(bool)
	r, also := right.(bool)
	if l == r {
		return 0, ok && also
	}
	return 1, ok && also
}

func timestamps(left, right any) (int, bool) {
	l, ok := timestamp(left)
	r, also := timestamp(right)
	return l.Compare(r), ok && also
}

// timestamp reads RFC 3339 with a capital T and Z, as the language wants it.
func timestamp(v any) (time.Time, bool) {
	s, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil && !strings.Contains(s, ",") // which package time takes for a point
}

// find gives the comparison of an operator without its Path ending, and tells whether that ending is allowed.
func find(operator string) (c comparison, path, ok bool) {
	switch operator {
	case "StringMatches":
		return func(left, right any) bool {
			text, ok := left.(string)
			pattern, also := right.(string)
			return ok && also && wild(text, pattern)
		}, false, true
	case "IsNull", "IsString", "IsNumeric", "IsBoolean", "IsTimestamp", "IsPresent":
		return func(left, right any) bool { return is(operator, left) == right }, false, true
	}
	for kind, compare := range kinds {
		suffix, found := strings.CutPrefix(operator, kind)
		holds := orders[suffix]
		if found && holds != nil && (kind != "Boolean" || suffix == "Equals") {
			return func(left, right any) bool {
				order, ok := compare(left, right)
				return ok && holds(order)
			}, true, true
		}
	}
	return nil, false, false
}

func is(operator string, v any) bool {
	switch operator {
	case "IsNull":
		return v == nil
	case "IsTimestamp":
		_, ok := timestamp(v)
		return ok
	case "IsPresent":
		return true
	}
	return value.Kind(v) == map[string]string{"IsString": "string", "IsNumeric": "number", "IsBoolean": "boolean"}[operator]
}

// wild matches a text with a pattern in which * stands for anything and \* for a star.
func wild(text, pattern string) bool {
	var parts []string // between the stars
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern) && (pattern[i+1] == '*' || pattern[i+1] == '\\'):
			i++
			b.WriteByte(pattern[i])
		case c == '*':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	last := b.String()
	if len(parts) == 0 {
		return text == last
	}
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok || len(text) < len(last) {
		return false
	}
	text, ok = strings.CutSuffix(text, last)
	for _, part := range parts[1:] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return ok
}

// holds evaluates the condition. A path that leads nowhere is an error, except for IsPresent.
func (c *condition) holds(v *view) (bool, error) {
	switch c.operator {
	case "And", "Or":
		for _, part := range c.parts {
			ok, err := part.holds(v)
			if err != nil || ok == (c.operator == "Or") {
				return ok, err
			}
		}
		return c.operator == "And", nil
	case "Not":
		ok, err := c.parts[0].holds(v)
		return !ok, err
	}
	left, err := c.variable.Get(v, &v.cost)
	var missing *jsonpath.Missing
	if c.operator == "IsPresent" && (err == nil || errors.As(err, &missing)) {
		return (err == nil) == c.operand, nil
	}
	if err != nil {
		return false, fmt.Errorf("a choice looks at %s: %w", c.variable, err)
	}
	right := c.operand
	if c.from != nil {
		if right, err = c.from.Get(v, &v.cost); err != nil {
			return false, fmt.Errorf("a choice compares with %s: %w", c.from, err)
		}
	}
	return c.compare(left, right), nil
}

// pathRule reads a choice of the JSONPath language.
func (l *loader) pathRule(st *State, n *yaml.Node) {
	var r Rule
	r.test = l.condition(st, n, map[string]func(*yaml.Node){"Next": l.text(&r.Next), "Assign": l.payloadField(&r.paths)})
	if r.Next == "" {
		l.mistake(n, "a choice of %s needs Next", st.Name)
	}
	st.Choices = append(st.Choices, r)
}

// condition reads the fields of a choice, or of a condition within one, beside those that are known.
func (l *loader) condition(st *State, n *yaml.Node, known map[string]func(*yaml.Node)) *condition {
	c := &condition{}
	if l.depth++; l.depth > maxConditions {
		l.mistake(n, "conditions are nested more than %d deep", maxConditions)
		return c
	}
	defer func() { l.depth-- }()
	part := func(n *yaml.Node) {
		c.parts = append(c.parts, l.condition(st, n, map[string]func(*yaml.Node){}))
	}
	known["Comment"] = func(*yaml.Node) {}
	known["Variable"] = l.path("Variable", &c.variable)
	known["And"] = l.operator(c, "And", l.list(part))
	known["Or"] = l.operator(c, "Or", l.list(part))
	known["Not"] = l.operator(c, "Not", part)
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if name := n.Content[i].Value; known[name] == nil {
			l.comparison(c, name, known)
		}
	}
	l.fields(n, "a choice of "+st.Name, known)
	switch {
	case c.operator == "":
		l.mistake(n, "a choice of %s needs one of And, Or, Not, or Variable and a comparison", st.Name)
	case c.compare == nil && (c.variable != nil || len(c.parts) == 0):
		l.mistake(n, "%s in a choice of %s needs conditions, and no Variable", c.operator, st.Name)
	case c.compare != nil && c.variable == nil:
		l.mistake(n, "%s in a choice of %s needs a Variable", c.operator, st.Name)
	}
	return c
}

// operator notes that a condition has an operator, of which there is one.
func (l *loader) operator(c *condition, name string, read func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if c.operator != "" {
			l.mistake(n, "a condition has either %s or %s", c.operator, name)
		}
		c.operator = name
		read(n)
	}
}

// comparison makes a comparison's field known.
func (l *loader) comparison(c *condition, name string, known map[string]func(*yaml.Node)) {
	plain, path := strings.CutSuffix(name, "Path")
	compare, may, ok := find(plain)
	if !ok || path && !may {
		return
	}
	known[name] = l.operator(c, plain, func(n *yaml.Node) {
		c.compare = compare
		if path {
			l.path(name, &c.from)(n)
			return
		}
		c.operand = l.constant(n)
		if !suits(plain, c.operand) {
			l.mistake(n, "%s cannot be compared with a %s", name, value.Kind(c.operand))
		}
	})
}

func suits(operator string, operand any) bool {
	switch {
	case strings.HasPrefix(operator, "String"):
		_, ok := operand.(string)
		return ok
	case strings.HasPrefix(operator, "Numeric"):
		_, ok := operand.(json.Number)
		return ok
	case strings.HasPrefix(operator, "Timestamp"):
		_, ok := timestamp(operand)
		return ok
	}
	_, ok := operand.(bool)
	return ok
}

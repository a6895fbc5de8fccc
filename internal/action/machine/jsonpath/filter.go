package jsonpath

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// condition is a filter's test: a conjunction, a disjunction, a negation, a comparison, or the presence of a path.
type condition struct {
	operator    string // "&&", "||", "!", a comparison, or "" for presence
	parts       []*condition
	left, right operand
}

// operand is a path, or a constant.
type operand struct {
	path    *Path
	literal any
	pattern *regexp.Regexp
}

// comparisons in the order in which they are looked for.
var comparisons = []string{"==", "!=", "<=", ">=", "<", ">", "=~", "in ", "nin "}

// filter reads what follows the question mark.
func (r *reader) filter() (*condition, error) {
	r.spaces()
	return r.either()
}

func (r *reader) either() (*condition, error) { return r.joined("||", r.both) }

func (r *reader) both() (*condition, error) { return r.joined("&&", r.single) }

func (r *reader) joined(operator string, part func() (*condition, error)) (*condition, error) {
	if r.nesting++; r.nesting > maxNesting {
		return nil, errors.New("the filter is nested too deeply")
	}
	defer func() { r.nesting-- }()
	all := &condition{operator: operator}
	for {
		one, err := part()
		if err != nil {
			return nil, err
		}
		all.parts = append(all.parts, one)
		if r.spaces(); !r.take(operator) {
			break
		}
	}
	if len(all.parts) == 1 {
		return all.parts[0], nil
	}
	return all, nil
}

func (r *reader) single() (*condition, error) {
	r.spaces()
	switch {
	case r.take("!"):
		if r.nesting++; r.nesting > maxNesting {
			return nil, errors.New("the filter is nested too deeply")
		}
		defer func() { r.nesting-- }()
		inner, err := r.single()
		return &condition{operator: "!", parts: []*condition{inner}}, err
	case r.take("("):
		inner, err := r.either()
		if r.spaces(); err == nil && !r.take(")") {
			err = errors.New("a parenthesis is not closed")
		}
		return inner, err
	}
	return r.comparison()
}

func (r *reader) comparison() (*condition, error) {
	left, err := r.operand()
	if err != nil {
		return nil, err
	}
	r.spaces()
	for _, operator := range comparisons {
		if !r.take(operator) {
			continue
		}
		right, err := r.operand()
		if err == nil && (operator == "=~") != (right.pattern != nil) {
			err = errors.New("=~ is followed by a pattern between slashes")
		}
		return &condition{operator: strings.TrimSpace(operator), left: left, right: right}, err
	}
	if left.path == nil {
		return nil, errors.New("a value alone is not a test")
	}
	return &condition{left: left}, nil
}

func (r *reader) operand() (o operand, err error) {
	r.spaces()
	if r.at >= len(r.text) {
		return o, errors.New("the filter ends too early")
	}
	switch c := r.text[r.at]; {
	case c == '@' || c == '$':
		o.path, err = r.path()
	case c == '\'' || c == '"':
		o.literal, err = r.quoted()
	case c == '/':
		o.pattern, err = r.pattern()
	case c == '[':
		o.literal, err = r.list()
	default:
		o.literal, err = r.constant()
	}
	return o, err
}

func (r *reader) constant() (any, error) {
	for word, v := range map[string]any{"true": true, "false": false, "null": nil} {
		if r.take(word) {
			return v, nil
		}
	}
	from := r.at
	for r.at < len(r.text) && strings.IndexByte("+-.0123456789eE", r.text[r.at]) >= 0 {
		r.at++
	}
	number := r.text[from:r.at]
	if number == "" || !json.Valid([]byte(number)) {
		return nil, fmt.Errorf("%q is neither a path nor a value", r.text[from:])
	}
	return json.Number(number), nil
}

func (r *reader) list() (any, error) {
	r.take("[")
	list := []any{}
	for {
		if r.spaces(); r.take("]") {
			return list, nil
		}
		item, err := r.operand()
		if err != nil {
			return nil, err
		}
		if item.path != nil || item.pattern != nil {
			return nil, errors.New("a list in a filter holds values only")
		}
		list = append(list, item.literal)
		if r.spaces(); !r.take(",") && !strings.HasPrefix(r.rest(), "]") {
			return nil, errors.New("a list is not closed")
		}
		if len(list) > maxPath {
			return nil, errors.New("a list is too long")
		}
	}
}

// pattern reads /…/ with an i behind it when capitals do not matter.
func (r *reader) pattern() (*regexp.Regexp, error) {
	r.take("/")
	var b strings.Builder
	for i := r.at; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '/':
			r.at = i + 1
			expression := "^(?:" + b.String() + ")$" // Jayway matches the whole text
			if r.take("i") {
				expression = "(?i)" + expression
			}
			pattern, err := regexp.Compile(expression)
			if err != nil {
				return nil, fmt.Errorf("the pattern: %w", err)
			}
			return pattern, nil
		case c == '\\' && i+1 < len(r.text) && r.text[i+1] == '/':
			i++
			b.WriteByte('/')
		default:
			b.WriteByte(c)
		}
	}
	return nil, errors.New("a pattern is not closed")
}

// holds tests a value.
func (c *condition) holds(w *walk, v any) (bool, error) {
	switch c.operator {
	case "&&", "||":
		for _, part := range c.parts {
			ok, err := part.holds(w, v)
			if err != nil || ok == (c.operator == "||") {
				return ok, err
			}
		}
		return c.operator == "&&", nil
	case "!":
		ok, err := c.parts[0].holds(w, v)
		return !ok, err
	}
	left, there, err := c.left.value(w, v)
	if err != nil || c.operator == "" {
		return there, err
	}
	right, also, err := c.right.value(w, v)
	if err != nil || !there || !also {
		return c.operator == "!=" && there != also, err
	}
	if err := w.cost.Spend(size(right)); err != nil {
		return false, err
	}
	return c.compare(left, right), nil
}

// size is what a comparison with a value may cost, roughly.
func size(v any) int {
	switch v := v.(type) {
	case []any:
		return 1 + len(v)
	case map[string]any:
		return 1 + len(v)
	}
	return 1
}

func (c *condition) compare(left, right any) bool {
	switch c.operator {
	case "==":
		return value.Equal(left, right)
	case "!=":
		return !value.Equal(left, right)
	case "=~":
		text, ok := left.(string)
		return ok && c.right.pattern.MatchString(text)
	case "in", "nin":
		list, ok := right.([]any)
		found := false
		for _, item := range list {
			found = found || value.Equal(left, item)
		}
		return ok && found == (c.operator == "in")
	}
	order, ok := order(left, right)
	if !ok {
		return false
	}
	switch c.operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

func order(left, right any) (int, bool) {
	switch l := left.(type) {
	case string:
		r, ok := right.(string)
		return strings.Compare(l, r), ok
	case json.Number:
		r, ok := right.(json.Number)
		return value.Compare(l, r), ok
	}
	return 0, false
}

func (o operand) value(w *walk, at any) (any, bool, error) {
	if o.path == nil {
		return o.literal, true, nil
	}
	inner := walk{source: w.source, cost: w.cost, at: at}
	v, err := inner.get(o.path)
	var missing *Missing
	if errors.As(err, &missing) {
		return nil, false, nil
	}
	if list, ok := v.([]any); ok && !o.path.definite && len(list) == 0 {
		return v, false, err
	}
	return v, err == nil, err
}

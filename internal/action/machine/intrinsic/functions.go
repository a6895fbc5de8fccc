package intrinsic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/avalhq/aval/internal/action/machine/jsonpath"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// function is one of the language's. most is -1 where there may be any number of arguments.
type function struct {
	least, most int
	run         func(*call) (any, error)
}

// functions by name.
var functions = map[string]function{
	"States.Format":         {1, -1, (*call).format},
	"States.StringToJson":   {1, 1, (*call).stringToJSON},
	"States.JsonToString":   {1, 1, (*call).jsonToString},
	"States.Array":          {0, -1, (*call).array},
	"States.ArrayPartition": {2, 2, (*call).partition},
	"States.ArrayContains":  {2, 2, (*call).contains},
	"States.ArrayRange":     {3, 3, (*call).span},
	"States.ArrayGetItem":   {2, 2, (*call).item},
	"States.ArrayLength":    {1, 1, (*call).length},
	"States.ArrayUnique":    {1, 1, (*call).unique},
	"States.Base64Encode":   {1, 1, (*call).encode},
	"States.Base64Decode":   {1, 1, (*call).decode},
	"States.Hash":           {2, 2, (*call).hash},
	"States.JsonMerge":      {3, 3, (*call).merge},
	"States.MathRandom":     {2, 3, (*call).random},
	"States.MathAdd":        {2, 2, (*call).add},
	"States.StringSplit":    {2, 2, (*call).split},
	"States.UUID":           {0, 0, (*call).uuid},
}

func find(name string) (*function, bool) {
	f, ok := functions[name]
	return &f, ok
}

// call is one call while it runs.
type call struct {
	expr      *Expr
	arguments []any
	scope     Scope
	cost      *jsonpath.Cost
}

func (c *call) text(i int) (string, error) {
	s, ok := c.arguments[i].(string)
	if !ok {
		return "", fmt.Errorf("argument %d must be a string, and is a %s", i+1, value.Kind(c.arguments[i]))
	}
	return s, nil
}

// list takes the first argument.
func (c *call) list() ([]any, error) {
	list, ok := c.arguments[0].([]any)
	if !ok {
		return nil, fmt.Errorf("argument 1 must be an array, and is a %s", value.Kind(c.arguments[0]))
	}
	return list, c.cost.Spend(len(list))
}

// whole takes numbers with a fraction too, and rounds them as Step Functions does.
func (c *call) whole(i int) (int64, error) {
	n, ok := value.Rounded(c.arguments[i])
	if !ok {
		return 0, fmt.Errorf("argument %d must be a whole number of 64 bits, and is a %s", i+1, value.Kind(c.arguments[i]))
	}
	return n, nil
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// format fills the placeholders {} of its first argument.
func (c *call) format() (any, error) {
	template, err := c.text(0)
	if err != nil {
		return nil, err
	}
	if raw := c.expr.arguments[0].raw; raw != "" {
		template = raw
	}
	var b strings.Builder
	next := 1
	for i := 0; i < len(template); i++ {
		switch {
		case template[i] == '\\' && i+1 < len(template) && strings.IndexByte(`'{}\`, template[i+1]) >= 0:
			i++
			b.WriteByte(template[i])
		case template[i] == '{' && i+1 < len(template) && template[i+1] == '}':
			if next >= len(c.arguments) {
				return nil, errors.New("there are more placeholders {} than arguments")
			}
			if err := c.fill(&b, c.arguments[next]); err != nil {
				return nil, err
			}
			i, next = i+1, next+1
		case template[i] == '{' || template[i] == '}':
			return nil, errors.New(`a brace that is not part of {} needs a backslash before it`)
		default:
			b.WriteByte(template[i])
		}
	}
	if next != len(c.arguments) {
		return nil, errors.New("there are more arguments than placeholders {}")
	}
	return b.String(), nil
}

func (c *call) fill(b *strings.Builder, v any) error {
	text, ok := v.(string)
	if !ok {
		raw, err := value.Encode(v, maxMade)
		if err != nil {
			return err
		}
		text = string(raw)
	}
	if b.Len()+len(text) > maxMade {
		return value.ErrLimit
	}
	b.WriteString(text)
	return c.cost.Spend(1 + len(text)/64)
}

func (c *call) stringToJSON() (any, error) {
	s, err := c.text(0)
	if err != nil {
		return nil, err
	}
	if err := c.cost.Spend(len(s)); err != nil {
		return nil, err
	}
	return value.Decode([]byte(s))
}

func (c *call) jsonToString() (any, error) {
	raw, err := value.Encode(c.arguments[0], maxMade)
	if err != nil {
		return nil, err
	}
	return string(raw), c.cost.Spend(len(raw))
}

func (c *call) array() (any, error) { return c.arguments, nil }

func (c *call) partition() (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	size, err := c.whole(1)
	if err == nil && size < 1 {
		err = errors.New("a chunk has at least one element")
	}
	if err != nil {
		return nil, err
	}
	chunks := []any{}
	for len(list) > 0 {
		n := int(min(size, int64(len(list))))
		chunks = append(chunks, list[:n:n])
		list = list[n:]
	}
	return chunks, nil
}

// equal compares and pays for it.
func (c *call) equal(a, b any) (bool, error) {
	return value.Equal(a, b), c.cost.Spend(weight(a))
}

// weight is about how many values there are in a value, up to a few thousand.
func weight(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for i := 0; i < len(v) && n < 4096; i++ {
			n += weight(v[i])
		}
	case map[string]any:
		for _, item := range v {
			if n += weight(item); n >= 4096 {
				break
			}
		}
	}
	return n
}

func (c *call) contains() (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	for _, item := range list {
		if same, err := c.equal(item, c.arguments[1]); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

func (c *call) span() (any, error) {
	var n [3]int64
	for i := range n {
		var err error
		if n[i], err = c.whole(i); err != nil {
			return nil, err
		}
	}
	first, last, step := n[0], n[1], n[2]
	if step == 0 {
		return nil, errors.New("the step is 0")
	}
	list := []any{}
	for at := first; step > 0 && at <= last || step < 0 && at >= last; {
		if len(list) == maxRange {
			return nil, fmt.Errorf("the range has more than %d elements", maxRange)
		}
		list = append(list, number(at))
		next := at + step
		if (next > at) != (step > 0) { // beyond 64 bits
			break
		}
		at = next
	}
	return list, c.cost.Spend(len(list))
}

func (c *call) item() (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	i, err := c.whole(1)
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= int64(len(list)) {
		return nil, fmt.Errorf("there is no element %d in an array of %d", i, len(list))
	}
	return list[i], nil
}

func (c *call) length() (any, error) {
	list, err := c.list()
	return number(int64(len(list))), err
}

func (c *call) unique() (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	kept := []any{}
	for _, item := range list {
		seen := false
		for _, other := range kept {
			if seen, err = c.equal(item, other); err != nil {
				return nil, err
			}
			if seen {
				break
			}
		}
		if !seen {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

func (c *call) merge() (any, error) {
	first, ok := c.arguments[0].(map[string]any)
	second, also := c.arguments[1].(map[string]any)
	if !ok || !also {
		return nil, errors.New("the first two arguments must be objects")
	}
	if deep, ok := c.arguments[2].(bool); !ok || deep {
		return nil, errors.New("the third argument must be false: objects are merged at the first level only")
	}
	merged := make(map[string]any, len(first)+len(second))
	maps.Copy(merged, first)
	maps.Copy(merged, second)
	return merged, c.cost.Spend(len(merged))
}

// split cuts at every character that is in the second argument; empty parts are left out, as Step Functions does.
func (c *call) split() (any, error) {
	s, err := c.text(0)
	if err != nil {
		return nil, err
	}
	at, err := c.text(1)
	if err != nil {
		return nil, err
	}
	if err := c.cost.Spend(len(s)); err != nil {
		return nil, err
	}
	parts := []any{}
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(at, r) }) {
		parts = append(parts, part)
	}
	return parts, nil
}

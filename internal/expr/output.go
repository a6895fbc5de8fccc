package expr

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

const (
	maxNesting = 64      // of a value that an expression gives
	maxOutput  = 4 << 20 // its size: bytes of text, and 1 for each value
)

// output turns an expression's value into what JSON has, within a budget: a small value can hold itself many times over.
type output struct{ left int }

func (o *output) value(v ref.Val, depth int) (any, error) {
	if o.left -= 1 + textSize(v); o.left < 0 || depth > maxNesting {
		return nil, fmt.Errorf("the value is larger than %d bytes, or nested deeper than %d", maxOutput, maxNesting)
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.String:
		return string(v), nil
	case types.Int:
		return json.Number(strconv.FormatInt(int64(v), 10)), nil
	case types.Uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), nil
	case dec:
		if v.number {
			return json.Number(v.text()), nil
		}
		return v.text(), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case traits.Lister:
		return o.list(v, depth)
	case traits.Mapper:
		return o.object(v, depth)
	}
	if types.IsError(v) {
		return nil, fmt.Errorf("evaluating the expression: %v", v)
	}
	return nil, fmt.Errorf("the expression gives a %s, which JSON cannot hold", v.Type().TypeName())
}

func textSize(v ref.Val) int {
	switch v.(type) {
	case types.String, types.Bytes:
		return size(v)
	}
	return 0
}

func (o *output) list(list traits.Lister, depth int) (any, error) {
	out := []any{}
	for it := list.Iterator(); it.HasNext() == types.True; {
		element, err := o.value(it.Next(), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, element)
	}
	return out, nil
}

func (o *output) object(m traits.Mapper, depth int) (any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("the expression gives an object with a key that is a %s; JSON has strings only", key.Type().TypeName())
		}
		o.left -= len(name)
		member, err := o.value(m.Get(key), depth+1)
		if err != nil {
			return nil, err
		}
		out[string(name)] = member
	}
	return out, nil
}

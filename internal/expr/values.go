package expr

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Decode reads JSON with its numbers kept exact: the form in which Eval takes variables at the least cost.
func Decode(data []byte) (any, error) {
	reader := json.NewDecoder(bytes.NewReader(data))
	reader.UseNumber()
	var v any
	if err := reader.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := reader.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: something follows the value")
	}
	return settle(v)
}

// settle replaces the numbers in a decoded tree, in place.
func settle(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case map[string]any:
		for key, member := range v {
			if v[key], err = settle(member); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, element := range v {
			if v[i], err = settle(element); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// number is an int when it fits 64 bits, and a dec otherwise.
func number(n json.Number) (ref.Val, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return types.Int(i), nil
	}
	d, err := parseDec(n.String(), true)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// adapter brings Go values into expressions. What could lose a digit is an error there.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case ref.Val:
		return v
	case json.Number:
		n, err := number(v)
		if err != nil {
			return types.WrapErr(err)
		}
		return n
	case json.RawMessage:
		decoded, err := Decode(v)
		if err != nil {
			return types.WrapErr(err)
		}
		return a.NativeToValue(decoded)
	case map[string]any:
		return sorted{types.NewStringInterfaceMap(a, v)}
	case map[ref.Val]ref.Val:
		return sorted{types.NewRefValMap(a, v)}
	case []any:
		return types.NewDynamicList(a, v)
	case []ref.Val:
		return types.NewRefValList(a, v)
	case []string:
		return types.NewStringList(a, v)
	case uint64:
		return a.NativeToValue(json.Number(strconv.FormatUint(v, 10)))
	case nil, bool, int, int64, string, time.Time, time.Duration:
		return types.DefaultTypeAdapter.NativeToValue(v)
	}
	return types.NewErr("a variable holds a Go value of type %T, which expressions do not take", v)
}

// sorted is a map that is walked in the order of its keys, so that an expression always gives the same value.
type sorted struct{ traits.Mapper }

// ordered is the function that rewrite puts around map literals.
func ordered(v ref.Val) ref.Val {
	if m, ok := v.(traits.Mapper); ok {
		return sorted{m}
	}
	return v
}

// Iterator walks the keys in order.
func (m sorted) Iterator() traits.Iterator {
	var keys []ref.Val
	for it := m.Mapper.Iterator(); it.HasNext() == types.True; {
		keys = append(keys, it.Next())
	}
	slices.SortFunc(keys, func(a, b ref.Val) int {
		if c, ok := a.(traits.Comparer); ok && a.Type() == b.Type() {
			if order, ok := c.Compare(b).(types.Int); ok {
				return int(order)
			}
		}
		return cmp.Compare(a.Type().TypeName(), b.Type().TypeName())
	})
	return types.NewRefValList(adapter{}, keys).Iterator()
}

package expr

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxCompared bounds one comparison. A value that holds itself many times over is small and takes long to walk.
const maxCompared = 100_000

// comparison is deep equality in which 5 and dec("5.0") are one number, wherever they stand.
type comparison struct{ left int }

func equals(l, r ref.Val) ref.Val { return answer(l, r, true) }

func differs(l, r ref.Val) ref.Val { return answer(l, r, false) }

func answer(l, r ref.Val, want bool) ref.Val {
	c := comparison{left: maxCompared}
	same := c.equal(l, r)
	if c.left < 0 {
		return types.NewErr("the values are too large to be compared")
	}
	return types.Bool(same == want)
}

// contains is the operator in: an element of a list, a key of a map.
func contains(v, in ref.Val) ref.Val {
	switch in := in.(type) {
	case traits.Mapper:
		_, found := in.Find(v)
		return types.Bool(found)
	case traits.Lister:
		c := comparison{left: maxCompared}
		length := types.Int(size(in))
		for i := types.Int(0); i < length && c.left >= 0; i++ {
			if c.equal(v, in.Get(i)) {
				return types.True
			}
		}
		if c.left < 0 {
			return types.NewErr("the list is too large to be searched")
		}
		return types.False
	}
	return types.MaybeNoSuchOverloadErr(in)
}

func (c *comparison) equal(l, r ref.Val) bool {
	if c.left--; c.left < 0 {
		return false
	}
	if isDec(l, r) {
		x, okX := toDec(l)
		y, okY := toDec(r)
		return okX && okY && x.value.Cmp(y.value) == 0
	}
	if x, ok := l.(traits.Lister); ok {
		y, ok := r.(traits.Lister)
		return ok && c.lists(x, y)
	}
	if x, ok := l.(traits.Mapper); ok {
		y, ok := r.(traits.Mapper)
		return ok && c.maps(x, y)
	}
	return types.Equal(l, r) == types.True
}

func (c *comparison) lists(x, y traits.Lister) bool {
	length := types.Int(size(x))
	if types.Int(size(y)) != length {
		return false
	}
	for i := types.Int(0); i < length; i++ {
		if !c.equal(x.Get(i), y.Get(i)) {
			return false
		}
	}
	return true
}

func (c *comparison) maps(x, y traits.Mapper) bool {
	if size(x) != size(y) {
		return false
	}
	for it := x.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		other, found := y.Find(key)
		if !found || !c.equal(x.Get(key), other) {
			return false
		}
	}
	return true
}

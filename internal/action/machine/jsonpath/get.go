package jsonpath

import (
	"fmt"
	"maps"
	"slices"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// Get reads the value that the path leads to.
func (p *Path) Get(from Source, cost *Cost) (any, error) {
	w := walk{source: from, cost: cost}
	return w.get(p)
}

// walk is one evaluation.
type walk struct {
	source Source
	cost   *Cost
	at     any // what @ is
}

func (w *walk) get(p *Path) (any, error) {
	v, found := w.at, true
	if p.root != current {
		var err error
		if v, found, err = w.source.Root(p.root, p.name); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, &Missing{Path: p.text}
	}
	if err := w.cost.Spend(1 + len(p.steps)); err != nil {
		return nil, err
	}
	if p.definite {
		for i := range p.steps {
			if v, found = p.steps[i].child(v); !found {
				return nil, &Missing{Path: p.text}
			}
		}
		return v, nil
	}
	nodes := []any{v}
	for i := range p.steps {
		var err error
		if nodes, err = w.step(&p.steps[i], nodes); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// child follows a definite step.
func (s *step) child(v any) (any, bool) {
	switch at := v.(type) {
	case map[string]any:
		child, ok := at[s.name]
		return child, ok && s.kind == member
	case []any:
		i := s.index
		if i < 0 {
			i += len(at)
		}
		if s.kind != index || i < 0 || i >= len(at) {
			return nil, false
		}
		return at[i], true
	}
	return nil, false
}

// step applies one step to every node.
func (w *walk) step(s *step, nodes []any) ([]any, error) {
	if s.deep {
		all := []any{}
		for _, node := range nodes {
			var err error
			if all, err = w.descend(all, node); err != nil {
				return nil, err
			}
		}
		nodes = all
	}
	found := []any{}
	for _, node := range nodes {
		if err := w.cost.Spend(1); err != nil {
			return nil, err
		}
		before := len(found)
		var err error
		if found, err = w.apply(s, found, node); err != nil {
			return nil, err
		}
		if err := w.cost.Spend(len(found) - before); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// descend adds a node and all below it, the node first.
func (w *walk) descend(all []any, node any) ([]any, error) {
	if err := w.cost.Spend(1); err != nil {
		return nil, err
	}
	all = append(all, node)
	var err error
	for _, child := range children(node) {
		if all, err = w.descend(all, child); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func children(node any) []any {
	switch node := node.(type) {
	case []any:
		return node
	case map[string]any:
		list := make([]any, 0, len(node))
		for _, key := range value.Keys(node) {
			list = append(list, node[key])
		}
		return list
	}
	return nil
}

func (w *walk) apply(s *step, found []any, node any) ([]any, error) {
	switch s.kind {
	case wildcard:
		return append(found, children(node)...), nil
	case filter:
		return w.filtered(s, found, node)
	case members:
		for _, name := range s.names {
			if child, ok := (&step{kind: member, name: name}).child(node); ok {
				found = append(found, child)
			}
		}
	case indexes:
		for _, i := range s.list {
			if child, ok := (&step{kind: index, index: i}).child(node); ok {
				found = append(found, child)
			}
		}
	case slice:
		if list, ok := node.([]any); ok {
			from, to := s.bounds(len(list))
			for i := from; i < to; i += s.by {
				found = append(found, list[i])
			}
		}
	default:
		if child, ok := s.child(node); ok {
			found = append(found, child)
		}
	}
	return found, nil
}

// filtered tests the elements of an array; an object is tested itself, as Jayway does.
func (w *walk) filtered(s *step, found []any, node any) ([]any, error) {
	var candidates []any
	switch at := node.(type) {
	case []any:
		candidates = at
	case map[string]any:
		candidates = []any{node}
	}
	for _, candidate := range candidates {
		if err := w.cost.Spend(1); err != nil {
			return nil, err
		}
		ok, err := s.test.holds(w, candidate)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, candidate)
		}
	}
	return found, nil
}

func (s *step) bounds(length int) (from, to int) {
	at := func(i *int, otherwise int) int {
		if i == nil {
			return otherwise
		}
		n := *i
		if n < 0 {
			n += length
		}
		return min(max(n, 0), length)
	}
	return at(s.from, 0), at(s.to, length)
}

// Set gives root with v where the reference path leads. Objects that are missing on the way are made; everything else that
// does not fit is an error. root is not changed.
func (p *Path) Set(root, v any) (any, error) {
	if !p.Reference() {
		return nil, fmt.Errorf("%s is not a reference path", p.text)
	}
	return p.set(root, v, 0)
}

func (p *Path) set(at, v any, i int) (any, error) {
	if i == len(p.steps) {
		return v, nil
	}
	s := &p.steps[i]
	switch at := at.(type) {
	case map[string]any:
		if s.kind != member {
			return nil, fmt.Errorf("%s asks for an array where there is an object", p.text)
		}
		inner, there := at[s.name]
		if !there && i+1 < len(p.steps) {
			inner = map[string]any{}
		}
		inner, err := p.set(inner, v, i+1)
		if err != nil {
			return nil, err
		}
		copied := make(map[string]any, len(at)+1)
		maps.Copy(copied, at)
		copied[s.name] = inner
		return copied, nil
	case []any:
		if s.kind != index || s.index >= len(at) {
			return nil, fmt.Errorf("%s does not lead to an element of the array that is there", p.text)
		}
		inner, err := p.set(at[s.index], v, i+1)
		if err != nil {
			return nil, err
		}
		copied := slices.Clone(at)
		copied[s.index] = inner
		return copied, nil
	}
	return nil, fmt.Errorf("%s leads into a %s, which has no parts", p.text, value.Kind(at))
}

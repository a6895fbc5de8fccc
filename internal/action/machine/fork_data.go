package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/avalhq/aval/internal/action/machine/jsonpath"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// What the branches of a Parallel and the iterations of a Map are given, and within which limits they go on.

// items are what a Map goes through.
func (m *mover) items(st *State) ([]any, error) {
	if m.list != nil {
		return m.list, nil
	}
	input, err := m.selected(st)
	if err != nil {
		return nil, err
	}
	list, ok := input.([]any)
	if !ok {
		return nil, fmt.Errorf("a Map goes through an array, and there is a %s; say with ItemsPath or Items where the array is", value.Kind(input))
	}
	m.list = list
	return list, nil
}

// nth is one of them. What is stored may be of other data: then they are not as many as were begun with.
func (m *mover) nth(st *State, index int) (any, error) {
	items, err := m.items(st)
	if err == nil && m.place.Fork.Total != len(items) {
		err = errors.New("the place of the message does not fit its data")
	}
	if err != nil {
		return nil, err
	}
	return items[index], nil
}

// selected is the value that a Map goes through.
func (m *mover) selected(st *State) (any, error) {
	input, err := m.data()
	switch {
	case err != nil:
		return nil, err
	case st.flow == nil && st.items != nil:
		return m.made(st.items)
	case st.flow == nil:
		return input, nil
	}
	if input, err = st.flow.input.get(m.view(input, "input")); err != nil || st.flow.items == nil {
		return input, err
	}
	v := m.view(input, "items")
	return st.flow.items.Get(v, &v.cost)
}

// made is what a template of the CEL language gives.
func (m *mover) made(t *template) (any, error) {
	v, err := t.eval(m.scope())
	if err != nil {
		return nil, &failure{ErrQuery, err}
	}
	return v, nil
}

// given is the input of a branch.
func (m *mover) given(st *State, index int) (json.RawMessage, error) {
	if st.flow == nil {
		return m.givenCEL(st, index)
	}
	if st.Type == Parallel {
		_, parameters, err := m.effective(st)
		if err != nil {
			return nil, err
		}
		return encode(parameters)
	}
	one, err := m.nth(st, index)
	if err != nil {
		return nil, err
	}
	if st.flow.parameters == nil {
		return encode(one)
	}
	input, err := m.data()
	if err != nil {
		return nil, err
	}
	if input, err = st.flow.input.get(m.view(input, "input")); err != nil {
		return nil, err
	}
	outer := m.item
	m.item = &item{index, one}
	defer func() { m.item = outer }()
	selected, err := st.flow.parameters.eval(m.view(input, "item "+strconv.Itoa(index)))
	if err != nil {
		return nil, err
	}
	return encode(selected)
}

func (m *mover) givenCEL(st *State, index int) (json.RawMessage, error) {
	source := st.arguments
	if st.Type == Map {
		one, err := m.nth(st, index)
		if err != nil {
			return nil, err
		}
		if source = st.selector; source == nil {
			return encode(one)
		}
		outer := m.item
		m.item = &item{index, one}
		defer func() { m.item = outer }()
	}
	if source != nil {
		v, err := m.made(source)
		if err != nil {
			return nil, err
		}
		return encode(v)
	}
	input, err := m.data()
	if err != nil {
		return nil, err
	}
	return encode(input)
}

// concurrency is how many branches may be under way; 0: all.
func (m *mover) concurrency(st *State) (most int, err error) {
	most = st.limits.concurrency
	if st.flow != nil && st.flow.concurrent != nil {
		most, err = m.limit(st, st.flow.concurrent, "MaxConcurrencyPath")
	}
	if most == 0 && st.Type == Map {
		most = MaxParallel
	}
	return most, err
}

func (m *mover) limit(st *State, path *jsonpath.Path, field string) (int, error) {
	input, err := m.looked(st)
	if err != nil {
		return 0, err
	}
	n, err := m.whole(path, input, field, 0)
	return int(n), err
}

// looked is what the paths of a Map's limits look at.
func (m *mover) looked(st *State) (any, error) {
	input, err := m.data()
	if err != nil {
		return nil, err
	}
	return st.flow.input.get(m.view(input, "input"))
}

// tolerates gives how many items of a Map may fail; -1: none, and the first failure is the state's.
func (m *mover) tolerates(st *State, total int) (int, error) {
	l := st.limits
	if st.Type == Parallel || !l.tolerant {
		return -1, nil
	}
	var err error
	if st.flow != nil && st.flow.count != nil {
		l.count, err = m.limit(st, st.flow.count, "ToleratedFailureCountPath")
	}
	if err == nil && st.flow != nil && st.flow.percentage != nil {
		l.percentage, err = m.percentage(st)
	}
	return max(l.count, int(l.percentage*float64(total)/100)), err
}

// percentage is the one that ToleratedFailurePercentagePath leads to.
func (m *mover) percentage(st *State) (float64, error) {
	input, err := m.looked(st)
	if err != nil {
		return 0, err
	}
	v := m.view(input, "ToleratedFailurePercentagePath")
	found, err := st.flow.percentage.Get(v, &v.cost)
	if err != nil {
		return 0, err
	}
	n, _ := found.(json.Number)
	if percentage, err := n.Float64(); err == nil && percentage >= 0 && percentage <= 100 {
		return percentage, nil
	}
	return 0, errors.New("ToleratedFailurePercentagePath leads to something other than a number from 0 to 100")
}

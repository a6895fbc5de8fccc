package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/avalhq/aval/internal/action/machine/jsonpath"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// item is what the context object tells of a Map's iteration.
type item struct {
	index int
	value any
}

// fork begins a Parallel or a Map.
func (m *mover) fork(st *State) {
	total := len(st.Branches)
	if st.Type == Map {
		items, err := m.items(st)
		if err == nil && len(items) > MaxItems {
			err = fmt.Errorf("there are %d items; %d are allowed", len(items), MaxItems)
		}
		if err != nil {
			m.broken(st, err)
			return
		}
		total = len(items)
	}
	m.place.Phase, m.place.Until = Running, 0
	m.place.Fork = &Fork{Total: total, Results: make([]json.RawMessage, total)}
	m.visit(st.Name, "entered", fmt.Sprintf("%d branches", total))
	m.branches(st, Event{Kind: Fed})
}

// branches lets the branches go on: first the one that the event is for, then each other, until one has an action to run.
func (m *mover) branches(st *State, e Event) {
	stored := m.place.Fork
	if !stored.fits(st) {
		m.fail(ErrRuntime, fmt.Sprintf("the stored branches of the state %s do not fit its definition", st.Name))
		return
	}
	f := &Fork{Total: stored.Total, Started: stored.Started, Turn: stored.Turn, Failed: stored.Failed, Branches: slices.Clone(stored.Branches), Results: slices.Clone(stored.Results)}
	m.place.Fork = f // never what was stored: a Move changes no input
	most, err := m.concurrency(st)
	if err != nil {
		m.broken(st, err)
		return
	}
	waits := time.Time{}
	at := slices.IndexFunc(f.Branches, func(b Branch) bool { return b.Index == f.Turn })
	if at < 0 {
		at, e = 0, Event{Kind: Fed}
	}
	for looked := 0; ; {
		if looked == len(f.Branches) {
			if f.Started == f.Total || most > 0 && len(f.Branches) >= most {
				break
			}
			if !m.start(st, f) {
				return
			}
			at = len(f.Branches) - 1
		}
		at %= len(f.Branches)
		until, ok := m.step(st, f, at, e)
		if !ok || m.run != nil {
			return
		}
		e = Event{Kind: Fed}
		if until.IsZero() {
			continue // it has ended, and the next one has moved up
		}
		if waits.IsZero() || until.Before(waits) {
			waits = until
		}
		looked, at = looked+1, at+1
	}
	if len(f.Branches) > 0 {
		m.wait = waits
		return
	}
	m.join(st, f)
}

// fits tells whether what was stored can be of the state.
func (f *Fork) fits(st *State) bool {
	seen := map[int]bool{}
	for _, b := range f.Branches {
		if b.Index < 0 || b.Index >= f.Started || seen[b.Index] {
			return false
		}
		seen[b.Index] = true
	}
	return st.forks() && f.Started >= 0 && f.Started <= f.Total && len(f.Results) == f.Total && (st.Type == Map || f.Total == len(st.Branches))
}

// start begins the next branch.
func (m *mover) start(st *State, f *Fork) bool {
	index, branch := f.Started, st.branch(f.Started)
	input, err := m.given(st, index)
	if err != nil {
		m.broken(st, err)
		return false
	}
	place := Place{State: branch.StartAt, Input: input, Drawn: m.place.Drawn}
	f.Started++
	f.Branches = append(f.Branches, Branch{Index: index, Place: place})
	return true
}

// branch is what is done in the branch or iteration of an index.
func (st *State) branch(index int) *States {
	if st.Type == Map {
		return st.Branches[0]
	}
	return st.Branches[index]
}

// step lets one branch go on. It gives the time for which the branch waits, and ok false when the state has failed with it.
func (m *mover) step(st *State, f *Fork, at int, e Event) (until time.Time, ok bool) {
	b := f.Branches[at]
	inner, err := m.inner(st, b)
	if err != nil {
		m.broken(st, err)
		return until, false
	}
	inner.drive(e)
	m.visits = append(m.visits, inner.visits...)
	if inner.done != nil {
		f.Branches = slices.Delete(f.Branches, at, at+1)
		return until, m.ended(st, f, b.Index, inner.done)
	}
	b.Place = inner.place
	if string(inner.ext) != string(m.ext) {
		b.Vars = inner.ext
	}
	f.Branches[at] = b
	if inner.run != nil {
		m.run, f.Turn = inner.run, b.Index
	}
	return inner.wait, true
}

// inner is the mover of a branch.
func (m *mover) inner(st *State, b Branch) (*mover, error) {
	inner := &mover{
		def: m.def, states: st.branch(b.Index).States, root: m.root, prefix: m.prefix + st.Name + "/" + strconv.Itoa(b.Index) + "/",
		item: m.item, env: m.env, place: b.Place, ext: m.ext,
	}
	if b.Vars != nil {
		inner.ext = b.Vars
	}
	if st.Type == Map {
		items, err := m.items(st)
		if err == nil && m.place.Fork.Total != len(items) {
			err = errors.New("the place of the message does not fit its data")
		}
		if err != nil {
			return nil, err
		}
		inner.item = &item{b.Index, items[b.Index]}
	}
	return inner, nil
}

// ended notes how a branch ended. A failure that is not tolerated fails the state, and with it all branches.
func (m *mover) ended(st *State, f *Fork, index int, done *Done) bool {
	if done.Succeeded {
		f.Results[index] = done.Output
		return true
	}
	tolerated, err := m.tolerates(st, f)
	switch {
	case err != nil:
		m.broken(st, err)
	case tolerated < 0:
		m.failed(st, done.Error, done.Cause)
	case f.Failed+1 > tolerated:
		m.failed(st, ErrTolerated, fmt.Sprintf("%d of %d items failed, the last one with %s: %s", f.Failed+1, f.Total, done.Error, done.Cause))
	default:
		f.Failed++
		raw, err := encode(map[string]any{"Error": done.Error, "Cause": done.Cause})
		f.Results[index] = raw
		return err == nil
	}
	return false
}

// join ends the state with the results of its branches.
func (m *mover) join(st *State, f *Fork) {
	size := 2
	for i, r := range f.Results {
		if r == nil {
			f.Results[i] = json.RawMessage("null")
		}
		size += len(r) + 1
	}
	if size > MaxData+1 {
		m.failed(st, ErrDataLimit, fmt.Sprintf("the results of the branches of %s have %d bytes; %d are allowed", st.Name, size, MaxData))
		return
	}
	raw, err := json.Marshal(append([]json.RawMessage{}, f.Results...))
	if err != nil {
		m.broken(st, err)
		return
	}
	m.place.Fork, m.drew = nil, true // branches may have drawn
	if st.flow == nil {
		m.leave(st, raw, "succeeded")
		return
	}
	m.answered(st, raw, "succeeded")
}

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
	items, err := m.items(st)
	if err != nil {
		return nil, err
	}
	if st.flow.parameters == nil {
		return encode(items[index])
	}
	input, err := m.data()
	if err != nil {
		return nil, err
	}
	if input, err = st.flow.input.get(m.view(input, "input")); err != nil {
		return nil, err
	}
	outer := m.item
	m.item = &item{index, items[index]}
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
		items, err := m.items(st)
		if err != nil {
			return nil, err
		}
		if source = st.selector; source == nil {
			return encode(items[index])
		}
		outer := m.item
		m.item = &item{index, items[index]}
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
func (m *mover) concurrency(st *State) (int, error) {
	if st.flow == nil || st.flow.concurrent == nil {
		return st.limits.concurrency, nil
	}
	return m.limit(st, st.flow.concurrent, "MaxConcurrencyPath")
}

func (m *mover) limit(st *State, path *jsonpath.Path, field string) (int, error) {
	input, err := m.data()
	if err != nil {
		return 0, err
	}
	if input, err = st.flow.input.get(m.view(input, "input")); err != nil {
		return 0, err
	}
	n, err := m.whole(path, input, field, 0)
	return int(n), err
}

// tolerates gives how many items of a Map may fail; -1: none, and the first failure is the state's.
func (m *mover) tolerates(st *State, f *Fork) (int, error) {
	l := st.limits
	if st.Type == Parallel || !l.tolerant {
		return -1, nil
	}
	if st.flow == nil {
		return max(l.count, int(l.percentage*float64(f.Total)/100)), nil
	}
	var err error
	if st.flow.count != nil {
		if l.count, err = m.limit(st, st.flow.count, "ToleratedFailureCountPath"); err != nil {
			return 0, err
		}
	}
	if st.flow.percentage != nil {
		n, err := m.limit(st, st.flow.percentage, "ToleratedFailurePercentagePath")
		if err != nil {
			return 0, err
		}
		l.percentage = float64(n)
	}
	return max(l.count, int(l.percentage*float64(f.Total)/100)), nil
}

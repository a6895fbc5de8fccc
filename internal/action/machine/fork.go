package machine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxParallel is how many iterations of a Map are under way at once where its MaxConcurrency says nothing, or 0.
const MaxParallel = 40

// Fork is how far the branches of a Parallel, or the iterations of a Map, are.
type Fork struct {
	Total    int             `json:"t"` // branches or items
	Started  int             `json:"-"` // of them, in their order
	Failed   int             `json:"-"` // tolerated failures of a Map
	active   []int           // those under way, in order
	branches vector[*branch] // by index; nil before it has started

	input any   // of the state, decoded once for all branches
	items []any // that the Map goes through
}

// branch is one branch or iteration; nothing in it changes.
type branch struct {
	place  *Place          // nil when it has ended
	vars   json.RawMessage // its variables, when it has set some
	wake   int64           // Unix microseconds: the earliest time that something in it waits for; 0: nothing does
	result json.RawMessage // when it has ended
	failed bool            // it ended with a failure that is tolerated
}

func newFork(total int) *Fork { return &Fork{Total: total, branches: newVector[*branch](total)} }

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
		if err == nil {
			_, err = m.tolerates(st, len(items)) // limits that cannot be read are told before an item begins
		}
		if err != nil {
			m.broken(st, err)
			return
		}
		total = len(items)
	}
	m.place.Phase, m.place.Until = Running, 0
	m.place.Fork = newFork(total)
	if m == m.root {
		m.root.changes.put(inputKey)
	}
	m.visit(st.Name, "entered", fmt.Sprintf("%d branches", total))
	m.branches(st, Event{Kind: Due})
}

// branches lets those branches go on that the event is for, and begins others while there is room.
func (m *mover) branches(st *State, e Event) {
	if !m.place.Fork.fits(st) {
		m.fail(ErrRuntime, fmt.Sprintf("the stored branches of the state %s do not fit its definition", st.Name))
		return
	}
	f := m.takeFork()
	most, err := m.concurrency(st)
	if err != nil {
		m.broken(st, err)
		return
	}
	for _, i := range slices.Clone(f.active) {
		if own, concerned := m.concerns(st, f, i, e); concerned && !m.step(st, f, i, own, false) {
			return
		}
	}
	for f.Started < f.Total && (most == 0 || len(f.active) < most) {
		if !m.start(st, f) {
			return
		}
	}
	if f.Total == f.Started && len(f.active) == 0 {
		m.join(st, f)
		return
	}
	m.rest(f)
}

// fits tells whether what was stored can be of the state.
func (f *Fork) fits(st *State) bool {
	return st.Type == Map || st.Type == Parallel && f.Total == len(st.Branches)
}

// takeFork makes a fork that may be changed of the one in the place: a Move changes no input.
func (m *mover) takeFork() *Fork {
	f := *m.place.Fork
	f.active = slices.Clone(f.active)
	m.place.Fork = &f
	if f.input != nil {
		m.value, m.known = f.input, true
	}
	if f.items != nil {
		m.list = f.items
	}
	return &f
}

// rest waits for the earliest time that a branch waits for, and for the actions that were asked for.
func (m *mover) rest(f *Fork) {
	m.idle = true
	if m.known {
		f.input = m.value
	}
	f.items = m.list
	var wake int64
	for _, i := range f.active {
		if w := f.branches.at(i).wake; w != 0 && (wake == 0 || w < wake) {
			wake = w
		}
	}
	if wake != 0 {
		m.wait = time.UnixMicro(wake)
	}
}

// concerns gives the event as one branch has it, and whether it is one for it: its own action has answered, its time has come,
// something was heard that may be for it, or all are to go on.
func (m *mover) concerns(st *State, f *Fork, index int, e Event) (Event, bool) {
	if e.Kind == Fed {
		return e, true
	}
	if e.State != "" && strings.HasPrefix(e.State, m.way(st, index)) {
		return e, true
	}
	wake := f.branches.at(index).wake
	return Event{Kind: Due}, len(m.env.Replies) > 0 || wake != 0 && wake <= m.env.Now.UnixMicro()
}

// way is how the names of a branch's states begin.
func (m *mover) way(st *State, index int) string {
	return m.prefix + st.Name + "/" + strconv.Itoa(index) + "/"
}

// start begins the next branch.
func (m *mover) start(st *State, f *Fork) bool {
	index, states := f.Started, st.branch(f.Started)
	input, err := m.given(st, index)
	if err != nil {
		m.broken(st, err)
		return false
	}
	place := Place{State: states.StartAt, Input: input, Drawn: m.place.Drawn}
	f.Started++
	f.active = append(f.active, index)
	f.branches = f.branches.with(index, &branch{place: &place})
	return m.step(st, f, index, Event{Kind: Fed}, true)
}

// branch is what is done in the branch or iteration of an index.
func (st *State) branch(index int) *States {
	if st.Type == Map {
		return st.Branches[0]
	}
	return st.Branches[index]
}

// step lets one branch go on. It gives false when the state has failed with it.
func (m *mover) step(st *State, f *Fork, index int, e Event, begins bool) bool {
	b := *f.branches.at(index)
	inner, err := m.inner(st, f, index)
	if err != nil {
		m.broken(st, err)
		return false
	}
	inner.drive(e)
	m.visits = append(m.visits, inner.visits...)
	if begins || len(inner.visits) > 0 || inner.place.Phase != b.place.Phase || inner.place.Until != b.place.Until {
		m.root.changes.put(inner.key) // being asked for again is no change
	}
	if inner.done != nil {
		f.active = slices.DeleteFunc(f.active, func(i int) bool { return i == index })
		inner.abandon()
		return m.ended(st, f, index, inner.done)
	}
	if inner.run != nil {
		m.root.runs = append(m.root.runs, *inner.run)
	}
	b.place, b.wake = &inner.place, 0
	if !inner.wait.IsZero() {
		b.wake = inner.wait.UnixMicro()
	}
	if string(inner.ext) != string(m.ext) {
		b.vars = inner.ext
	}
	f.branches = f.branches.with(index, &b)
	return true
}

// inner is the mover of a branch.
func (m *mover) inner(st *State, f *Fork, index int) (*mover, error) {
	b := f.branches.at(index)
	inner := &mover{
		def: m.def, states: st.branch(index).States, root: m.root, prefix: m.way(st, index), key: branchKey(m.key, index),
		item: m.item, env: m.env, place: *b.place, ext: m.ext,
	}
	if b.vars != nil {
		inner.ext = b.vars
	}
	if st.Type == Map {
		one, err := m.nth(st, index)
		if err != nil {
			return nil, err
		}
		inner.item = &item{index, one}
	}
	return inner, nil
}

// abandon gives up the branches of the state where the mover stands, when there are some: the actions that they have asked
// for are not waited for. What was begun stays known.
func (m *mover) abandon() {
	if m.place.Fork == nil {
		return
	}
	way := m.prefix + m.place.State + "/"
	m.place.Fork, m.idle = nil, false
	m.root.changes.drop(m.key)
	m.root.dropped = append(m.root.dropped, way)
	m.root.runs = slices.DeleteFunc(m.root.runs, func(r Run) bool { return strings.HasPrefix(r.State, way) })
}

// ended notes how a branch ended. A failure that is not tolerated fails the state, and with it all branches.
func (m *mover) ended(st *State, f *Fork, index int, done *Done) bool {
	if done.Succeeded {
		f.branches = f.branches.with(index, &branch{result: orNull(done.Output)})
		return true
	}
	tolerated, err := m.tolerates(st, f.Total)
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
		f.branches = f.branches.with(index, &branch{result: orNull(raw), failed: true})
		return err == nil
	}
	return false
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

// join ends the state with the results of its branches.
func (m *mover) join(st *State, f *Fork) {
	raw := append(make(json.RawMessage, 0, 2+16*f.Total), '[')
	for i := range f.Total {
		if i > 0 {
			raw = append(raw, ',')
		}
		if raw = append(raw, f.branches.at(i).result...); len(raw) > MaxData {
			break
		}
	}
	if raw = append(raw, ']'); len(raw) > MaxData {
		m.failed(st, ErrDataLimit, fmt.Sprintf("the results of the branches of %s have more than the %d bytes that are allowed", st.Name, MaxData))
		return
	}
	m.abandon()
	m.drew = true // branches may have drawn
	if st.flow == nil {
		m.leave(st, raw, "succeeded")
		return
	}
	m.answered(st, raw, "succeeded")
}

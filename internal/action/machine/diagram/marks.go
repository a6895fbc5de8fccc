package diagram

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
)

// Step is what a message's history tells of a state.
type Step struct {
	State string // with the way to it: "Fan/0/Pay", "Each/17/Pay"
	Event string
	Note  string
}

// Marks tells how far a message has come, from its history in order, the state where it stands, and whether it was parked there.
// A Map's items share the marks of its states: where one item is, the mark is that of the item.
func Marks(d *machine.Definition, steps []Step, state string, parked, ended bool) map[string]Mark {
	m := marker{def: d, marks: map[string]Mark{}, last: map[string]Step{}}
	for _, s := range steps {
		m.step(s)
	}
	if ended {
		return m.marks
	}
	m.stand(state, parked)
	return m.marks
}

type marker struct {
	def   *machine.Definition
	marks map[string]Mark
	last  map[string]Step // by branch or item: the latest step there
}

// left are the events that end a state.
var left = map[string]Mark{
	"succeeded": Done, "passed": Done, "chose": Done, "waited": Done, "ended": Done, "caught": Failed, "failed": Failed,
}

func (m *marker) step(s Step) {
	id := drawn(s.State, m.def)
	st := m.find(id)
	mark := left[s.Event]
	if s.Event == "ended" && st != nil && st.Type == machine.Fail {
		mark = Failed
	}
	if mark != Unreached {
		m.marks[id] = mark
	}
	branch := s.State[:strings.LastIndexByte(s.State, '/')+1]
	m.last[branch] = s
	if s.Event == "entered" && st != nil && len(st.Branches) > 0 { // begun anew
		for other := range m.last {
			if strings.HasPrefix(other, s.State+"/") {
				delete(m.last, other)
			}
		}
	}
}

// stand marks where the message is, within branches too.
func (m *marker) stand(state string, parked bool) {
	mark := Current
	if parked {
		mark = Failed
	}
	m.marks[drawn(state, m.def)] = mark
	for branch, s := range m.last {
		if !strings.HasPrefix(branch, state+"/") {
			continue
		}
		at := s.State
		if _, over := left[s.Event]; over {
			at = m.following(branch, s)
		}
		if at != "" && m.marks[drawn(at, m.def)] != Failed {
			m.marks[drawn(at, m.def)] = mark
		}
	}
}

// following is the state after one that was left, where the history tells which; "" at the end of a branch.
func (m *marker) following(branch string, s Step) string {
	st := m.find(drawn(s.State, m.def))
	switch {
	case st == nil || s.Event == "caught" || s.Event == "failed" || s.Event == "ended":
		return ""
	case s.Event == "chose":
		return branch + s.Note
	case st.Next != "":
		return branch + st.Next
	}
	return ""
}

// find is the state that a node stands for.
func (m *marker) find(id string) *machine.State {
	parts := strings.Split(id, "/")
	states := m.def.States
	for i := 0; ; i += 2 {
		st := states[parts[i]]
		if st == nil || i+2 >= len(parts) {
			return st
		}
		branch := 0
		for n := range st.Branches {
			if parts[i+1] == strconv.Itoa(n) {
				branch = n
			}
		}
		if branch >= len(st.Branches) {
			return nil
		}
		states = st.Branches[branch].States
	}
}

var item = regexp.MustCompile(`^\d+$`)

// drawn is the id of the node that a state in a message's history stands for: all items of a Map share theirs.
func drawn(state string, d *machine.Definition) string {
	parts := strings.Split(state, "/")
	states := d.States
	for i := 0; i+2 < len(parts); i += 2 {
		st := states[parts[i]]
		if st == nil || len(st.Branches) == 0 {
			return state
		}
		branch := 0
		if st.Type == machine.Map {
			if item.MatchString(parts[i+1]) {
				parts[i+1] = "*"
			}
		} else {
			for n := range st.Branches {
				if parts[i+1] == strconv.Itoa(n) {
					branch = n
				}
			}
		}
		states = st.Branches[branch].States
	}
	return strings.Join(parts, "/")
}

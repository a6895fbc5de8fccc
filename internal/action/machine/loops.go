package machine

import (
	"slices"
	"strings"
)

// reviewLoops refuses loops that nothing slows down: a message in one would keep a processor busy until the machine stops it.
//
// A loop is slowed down by a Wait, by a Task whose action has an outside effect, waits to be called back or parks, by a
// Parallel or Map with such a state in it, and by an error that was retried before it was caught. A loop without any of these
// must count its rounds: a state of it assigns a variable (or makes data) from its own former value, and a Choice of it with a
// way out looks at that.
func (l *loader) reviewLoops(states map[string]*State) {
	c := components{states: states, index: map[string]int{}, low: map[string]int{}, rules: l.rules}
	for _, name := range sorted(states) {
		if c.index[name] == 0 && !pauses(states[name], l.rules) {
			c.visit(name)
		}
	}
	for _, loop := range c.loops {
		slices.Sort(loop)
		if !counted(loop, states) {
			l.of(states[loop[0]], nil, "is in a loop that nothing slows down (%s); put a Wait into it, or count its rounds in a variable that a Choice of the loop looks at", strings.Join(loop, ", "))
		}
	}
}

// pauses tells whether a message that comes to the state stays for a while.
func pauses(st *State, rules Rules) bool {
	switch {
	case st.Type == Wait, st.Effect:
		return true
	case st.Type == Task:
		return rules.Parks != nil && rules.Parks(st.Action)
	}
	return slices.ContainsFunc(st.Branches, func(b *States) bool {
		for _, inner := range b.States {
			if pauses(inner, rules) {
				return true
			}
		}
		return false
	})
}

// hurries lists where a message goes on at once: not where a retried error leads.
func (st *State) hurries() []string {
	var next []string
	for _, e := range st.Edges() {
		if e.Kind != OnCatch || !st.retried(strings.Split(e.Label, ", ")) {
			next = append(next, e.To)
		}
	}
	return next
}

// retried tells whether one of the errors is tried again before it is caught.
func (st *State) retried(names []string) bool {
	return slices.ContainsFunc(st.Retry, func(r Retrier) bool {
		return r.Max > 0 && (slices.ContainsFunc(names, func(name string) bool { return slices.Contains(r.Errors, name) }) || slices.Contains(r.Errors, ErrAll))
	})
}

// components finds the loops among states that do not pause: the strongly connected components, by Tarjan's algorithm.
type components struct {
	states map[string]*State
	rules  Rules
	index  map[string]int // from 1, in the order of visits
	low    map[string]int
	stack  []string
	loops  [][]string
}

func (c *components) visit(name string) {
	c.index[name] = len(c.index) + 1
	c.low[name] = c.index[name]
	c.stack = append(c.stack, name)
	self := false
	for _, next := range c.states[name].hurries() {
		switch {
		case pauses(c.states[next], c.rules):
		case c.index[next] == 0:
			c.visit(next)
			c.low[name] = min(c.low[name], c.low[next])
		case slices.Contains(c.stack, next):
			c.low[name] = min(c.low[name], c.index[next])
		}
		self = self || next == name
	}
	if c.low[name] != c.index[name] {
		return
	}
	from := slices.Index(c.stack, name)
	if loop := slices.Clone(c.stack[from:]); len(loop) > 1 || self {
		c.loops = append(c.loops, loop)
	}
	c.stack = c.stack[:from]
}

// counted tells whether a Choice of the loop with a way out looks at what the loop makes of its own former value.
func counted(loop []string, states map[string]*State) bool {
	counters := map[string]bool{}
	for _, name := range loop {
		for name := range states[name].counters() {
			counters[name] = true
		}
	}
	for _, name := range loop {
		st := states[name]
		if st.Type != Choice || !slices.ContainsFunc(st.Edges(), func(e Edge) bool { return !slices.Contains(loop, e.To) }) {
			continue
		}
		for _, r := range st.Choices {
			if slices.ContainsFunc(r.reads(), func(name string) bool { return counters[name] || name == anyName && len(counters) > 0 }) {
				return true
			}
		}
	}
	return false
}

package machine

import "slices"

// reviewUndo asks that a workflow can take back what it does. Where another effect can follow an action that names the one
// which takes it back, that effect can fail for good with the first one done: then there has to be a way from the one to a
// Task that takes it back.
func (l *loader) reviewUndo() {
	if l.rules.Undo == nil {
		return
	}
	g := graph{onward: map[string][]string{}, states: map[string]*State{}}
	g.add(l.def.States, nil)
	for _, name := range sorted(g.states) {
		st := g.states[name]
		undo := l.rules.Undo(st.Action)
		if st.Type != Task || undo == "" {
			continue
		}
		follows, undone := "", false
		for _, after := range g.after(name) {
			next := g.states[after]
			undone = undone || next.Action == undo
			if next.Effect && next.Action != undo && follows == "" {
				follows = after
			}
		}
		if follows != "" && !undone {
			l.of(st, []any{"Resource"}, "runs %s, and %s can fail after it with that done; lead from there to a Task whose Resource is %s", st.Action, follows, undo)
		}
	}
}

// graph is which states can follow which, also into branches and out of them.
type graph struct {
	onward map[string][]string
	states map[string]*State
}

// add adds states; from each of a branch it can go on where it goes on from the state that has the branch.
func (g graph) add(states map[string]*State, outer []string) {
	for name, st := range states {
		next := slices.Clone(outer)
		for _, e := range st.Edges() {
			next = append(next, e.To)
		}
		g.states[name], g.onward[name] = st, slices.Clone(next)
		for _, b := range st.Branches {
			g.onward[name] = append(g.onward[name], b.StartAt)
			g.add(b.States, next)
		}
	}
}

// after lists the states that can follow one, in order.
func (g graph) after(name string) []string {
	seen := map[string]bool{}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		for _, next := range g.onward[queue[0]] {
			if !seen[next] && g.states[next] != nil {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return sorted(seen)
}

package machine

import (
	"slices"
	"strings"
)

// review looks at a definition as check does, and at what an installation asks beyond it.
func (l *loader) review() {
	l.check()
	whole := len(l.found.Errors()) == 0
	l.reviewStates(l.def.States, whole)
	if whole {
		l.reviewUndo()
	}
	l.reviewTypes()
}

// reviewStates looks at the states of the workflow or of a branch; at the ways through them only when they are whole.
func (l *loader) reviewStates(states map[string]*State, whole bool) {
	if whole {
		l.reviewEnds(states)
		l.reviewLoops(states)
	}
	for _, name := range sorted(states) {
		st := states[name]
		l.reviewEffect(st)
		l.reviewHandlers(st)
		for _, b := range st.Branches {
			l.reviewStates(b.States, whole)
		}
	}
}

// reviewEffect asks that an effect which fails for good leads somewhere: the message would be parked where it is, with what it
// holds (a nonce, an approval) held for as long.
func (l *loader) reviewEffect(st *State) {
	what := "has an outside effect"
	if st.Called {
		what = "waits for an answer"
	}
	if st.Effect && !slices.ContainsFunc(st.Catch, func(c Catcher) bool { return slices.Contains(c.Errors, ErrAll) }) {
		l.of(st, []any{"Catch"}, "%s and no Catch for States.ALL; say what happens when it fails for good", what)
	}
}

// reviewEnds asks that an end can be reached from every state.
func (l *loader) reviewEnds(states map[string]*State) {
	before := map[string][]string{}
	ends := map[string]bool{}
	var queue []string
	for name, st := range states {
		for _, e := range st.Edges() {
			before[e.To] = append(before[e.To], name)
		}
		if st.ends() {
			ends[name] = true
			queue = append(queue, name)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, name := range before[queue[0]] {
			if !ends[name] {
				ends[name] = true
				queue = append(queue, name)
			}
		}
	}
	for _, name := range sorted(states) {
		if !ends[name] {
			l.of(states[name], nil, "leads to no end: from here a message goes round for ever; lead one way out to a state that ends")
		}
	}
}

// reserved are the error names that begin with States. and mean something.
func reserved() []string {
	return []string{
		ErrAll, ErrTask, ErrTimeout, ErrRuntime, ErrNoChoice, ErrQuery, ErrDataLimit, ErrHeartbeat, ErrResultPath, ErrIntrinsic,
		ErrBranch, ErrTolerated, "States.Permissions", "States.ParameterPathFailure", "States.ItemReaderFailed", "States.ResultWriterFailed",
	}
}

// reviewHandlers warns of names in Retry and Catch that are never compared with success.
func (l *loader) reviewHandlers(st *State) {
	handlers := func(field string, lists [][]string) {
		seen := map[string]bool{}
		for i, names := range lists {
			for j, name := range names {
				at := l.at(st, field, i, "ErrorEquals", j)
				switch {
				case seen[name]:
					l.warn(at, "state %q names %s a second time in its %s; the first entry is taken", st.Name, name, field)
				case strings.HasPrefix(name, "States.") && !slices.Contains(reserved(), name):
					l.warn(at, "%q is not an error of the language; %s", name, meant(name, reserved()))
				}
				seen[name] = true
			}
		}
	}
	var retries, catches [][]string
	for _, r := range st.Retry {
		retries = append(retries, r.Errors)
	}
	for _, c := range st.Catch {
		catches = append(catches, c.Errors)
	}
	handlers("Retry", retries)
	handlers("Catch", catches)
}

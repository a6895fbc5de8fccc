package machine

import (
	"strconv"
	"strings"
)

// Bars tells why a message at a place of this definition cannot go on in the other one that it was compared with: "" when it
// can. All states where it stands have to be there, and so have all effects that it has begun, or one of them could happen
// again under another name (I5).
func (d *Definition) Bars(p Place, c Comparison) string {
	for _, at := range stands(d.States, p, "") {
		if why := c.Blocks(at); why != "" {
			return "it stands in " + at + ", and " + why
		}
	}
	for _, name := range p.Begun.Names() {
		if begun := stateOf(d.States, name); c.Blocks(begun) != "" {
			return "it has begun the effect of " + begun + ", and " + c.Blocks(begun)
		}
	}
	return ""
}

// stands lists the states where a place stands, branches included, as Compare names them.
func stands(states map[string]*State, p Place, way string) []string {
	at := way + p.State
	list := []string{at}
	st := states[p.State]
	if p.Fork == nil || st == nil {
		return list
	}
	for _, i := range p.Fork.active {
		b := p.Fork.branches.at(i)
		if b == nil || b.place == nil {
			continue
		}
		index, inner := inside(st, i)
		if inner != nil {
			list = append(list, stands(inner.States, *b.place, at+"/"+index+"/")...)
		}
	}
	return list
}

// inside is what Compare calls a branch of a Parallel or an iteration of a Map, and its states.
func inside(st *State, i int) (index string, inner *States) {
	switch {
	case st.Type == Map && len(st.Branches) == 1:
		return "*", st.Branches[0]
	case i < len(st.Branches):
		return strconv.Itoa(i), st.Branches[i]
	}
	return "", nil
}

// stateOf makes of an effect's name, "Each/17/Pay", what Compare calls its state, "Each/*/Pay".
func stateOf(states map[string]*State, name string) string {
	if states[name] != nil {
		return name
	}
	for outer, st := range states {
		rest, ok := strings.CutPrefix(name, outer+"/")
		if !ok || len(st.Branches) == 0 {
			continue
		}
		digits, in, ok := strings.Cut(rest, "/")
		i, err := strconv.Atoi(digits)
		if !ok || err != nil {
			continue
		}
		if index, inner := inside(st, i); inner != nil {
			return outer + "/" + index + "/" + stateOf(inner.States, in)
		}
	}
	return name
}

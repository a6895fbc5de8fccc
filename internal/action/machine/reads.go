package machine

import (
	"regexp"
	"slices"
	"unicode"

	"github.com/avalhq/aval/internal/action/machine/intrinsic"
)

// What states read and assign. Variables go by their names, the data that flows from state to state by dataName, and all
// variables together, where one is picked by a computed name, by anyName.
const (
	dataName = "$"
	anyName  = "*"
)

// reads are the variables that a rule's condition looks at.
func (r Rule) reads() []string {
	if r.test != nil {
		return r.test.reads()
	}
	return r.condition.reads()
}

func (c *condition) reads() []string {
	var names []string
	for _, part := range c.parts {
		names = append(names, part.reads()...)
	}
	if c.variable != nil {
		names = append(names, pathReads(c.variable.String())...)
	}
	if c.from != nil {
		names = append(names, pathReads(c.from.String())...)
	}
	return names
}

// reads are the variables that an expression or a value with expressions in it looks at.
func (t *template) reads() []string {
	switch {
	case t == nil:
		return nil
	case t.program != nil:
		names, whole := t.program.Members("vars")
		if whole {
			names = append(slices.Clone(names), anyName)
		}
		if t.program.Reads("states", "input") {
			names = append(slices.Clone(names), dataName)
		}
		return names
	}
	var names []string
	for _, field := range t.fields {
		names = append(names, field.reads()...)
	}
	for _, item := range t.items {
		names = append(names, item.reads()...)
	}
	return names
}

// reads are the variables that a payload template looks at.
func (p *payload) reads() []string {
	switch {
	case p == nil:
		return nil
	case p.computed != nil:
		return computedReads(p.computed)
	}
	var names []string
	for _, field := range p.fields {
		names = append(names, field.reads()...)
	}
	for _, item := range p.items {
		names = append(names, item.reads()...)
	}
	return names
}

func computedReads(e *intrinsic.Expr) []string {
	var names []string
	for _, path := range e.Paths() {
		names = append(names, pathReads(path.String())...)
	}
	return names
}

// rooted matches where a path begins, also one within a filter: $.a, $name, $$.a.
var rooted = regexp.MustCompile(`\$(\$|[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}]*)?`)

func pathReads(path string) []string {
	var names []string
	for _, found := range rooted.FindAllStringSubmatch(path, -1) {
		switch found[1] {
		case "":
			names = append(names, dataName)
		case "$":
		default:
			names = append(names, found[1])
		}
	}
	return names
}

// assigned are the variables that an Assign sets, each with what it is made of.
func assigned(t *template, p *payload) map[string][]string {
	names := map[string][]string{}
	if t != nil {
		for name, field := range t.fields {
			names[name] = field.reads()
		}
	}
	if p != nil {
		for name, field := range p.fields {
			names[name] = field.reads()
		}
		if object, ok := p.constant.(map[string]any); ok {
			for name := range object {
				names[name] = nil
			}
		}
	}
	return names
}

// assigns are all the variables that a state may set, on every way out of it.
func (st *State) assigns() []map[string][]string {
	all := []map[string][]string{assigned(st.assign, nil)}
	if st.flow != nil {
		all[0] = assigned(nil, st.flow.assign)
	}
	for _, r := range st.Choices {
		all = append(all, assigned(r.assign, r.paths))
	}
	for _, c := range st.Catch {
		all = append(all, assigned(c.assign, c.paths))
	}
	return all
}

// counters are the variables that a state makes of their own former value, and the data if it does so with that.
func (st *State) counters() map[string]bool {
	counters := map[string]bool{}
	count := func(name string, reads []string) {
		for _, read := range reads {
			counters[name] = counters[name] || read == name || read == anyName
		}
	}
	for _, assign := range st.assigns() {
		for name, reads := range assign {
			count(name, reads)
		}
	}
	count(dataName, st.output.reads())
	for _, r := range st.Choices {
		count(dataName, r.output.reads())
	}
	if st.flow != nil {
		count(dataName, st.flow.parameters.reads())
	}
	return counters
}

// variable tells whether a name can be given to a variable: a letter or _, then letters, digits, marks and _, up to maxName.
func variable(name string) bool {
	for i, r := range name {
		first := unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) || r == '_'
		if !first && (i == 0 || !unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc)) {
			return false
		}
	}
	return name != "" && len([]rune(name)) <= maxName
}

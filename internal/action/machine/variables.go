package machine

import (
	"go.yaml.in/yaml/v3"
)

// checkVariables holds the variables to the rules of the language: their names, and that a branch does not assign what is
// assigned outside of it, which it could not hand out. Outer are the variables of the states around, with who assigns them.
func (l *loader) checkVariables(states map[string]*State, outer map[string]string) {
	own := map[string]string{}
	for name, by := range outer {
		own[name] = by
	}
	for _, name := range sorted(states) {
		st := states[name]
		for _, field := range l.assignments(st) {
			for i := 0; i+1 < len(field.Content); i += 2 {
				l.checkVariable(st, field.Content[i], outer)
				own[variableName(field.Content[i])] = name
			}
		}
	}
	for _, name := range sorted(states) {
		for _, b := range states[name].Branches {
			l.checkVariables(b.States, own)
		}
	}
}

func (l *loader) checkVariable(st *State, key *yaml.Node, outer map[string]string) {
	name := variableName(key)
	switch by := outer[name]; {
	case !variable(name):
		l.mistake(key, "a variable cannot be called %q; its name begins with a letter or _ and goes on with letters, digits and _, up to %d characters", name, maxName)
	case by != "":
		l.mistake(key, "state %q assigns the variable %q, which the state %q assigns outside of the branch; give it another name", st.Name, name, by)
	}
}

// variableName is the name of a variable that the key of an Assign gives; in JSONPath it ends in .$ where the value is computed.
func variableName(key *yaml.Node) string {
	name := key.Value
	if n := len(name) - len(".$"); n > 0 && name[n:] == ".$" {
		return name[:n]
	}
	return name
}

// assignments are the Assign fields of a state: its own, and those of its choices and catches.
func (l *loader) assignments(st *State) []*yaml.Node {
	var fields []*yaml.Node
	add := func(path ...any) {
		holder := l.origin[st].node
		if len(path) > 0 {
			holder = within(holder, path...)
		}
		if n := within(holder, "Assign"); n != holder {
			fields = append(fields, n)
		}
	}
	add()
	for i := range st.Choices {
		add("Choices", i)
	}
	for i := range st.Catch {
		add("Catch", i)
	}
	return fields
}

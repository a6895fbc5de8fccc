package machine

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/expr"
)

// role says what an expression may look at, by where it stands.
type role int

const (
	plain    role = iota
	resulted      // Assign and Output of what has a result: states.result
	caught        // Assign and Output of a Catch: states.errorOutput
)

// use is a value with expressions, where it stands.
type use struct {
	value *template
	field string
	role  role
	wants []string // the kinds of value that the field takes; none: all
}

// reviewTypes checks the expressions of the CEL language against what is known of their variables: the message, from the schema
// of its type; variables, from what the states assign, where that is known; the rest is open. It takes two rounds: the types of
// variables that are made of other variables are known after the first.
func (l *loader) reviewTypes() {
	message := l.message()
	if l.env == nil {
		return
	}
	uses := usesIn(l.def.States)
	vars := expr.Dyn()
	for _, last := range []bool{false, true} {
		t := typing{l: l, message: message, vars: vars, last: last, assigned: map[string]*expr.Type{}}
		for _, u := range uses {
			t.use(u)
		}
		vars = expr.Object("vars", t.assigned, t.open)
	}
}

// message is what is known of the messages that the definition is for.
func (l *loader) message() *expr.Type {
	if l.rules.Message == nil {
		return expr.Dyn()
	}
	t := l.rules.Message(l.def.Name)
	if t == nil {
		l.warn(l.doc, "there is no message type %q: no message begins with this workflow, and what its expressions say of message is not checked", l.def.Name)
		return expr.Dyn()
	}
	return t
}

// usesIn lists the values with expressions of states, those of branches too.
func usesIn(states map[string]*State) []use {
	var all []use
	for _, name := range sorted(states) {
		st := states[name]
		all = append(all, st.uses()...)
		for _, b := range st.Branches {
			all = append(all, usesIn(b.States)...)
		}
	}
	return all
}

func (st *State) uses() []use {
	ends := plain
	if st.Type == Task || st.forks() {
		ends = resulted
	}
	all := []use{
		{value: st.arguments}, {value: st.items, field: "Items", wants: []string{"list", "map"}}, {value: st.selector},
		{value: st.seconds, field: "Seconds", wants: []string{"int"}}, {value: st.timestamp, field: "Timestamp", wants: []string{"string", "google.protobuf.Timestamp"}},
		{value: st.timeout, field: "TimeoutSeconds", wants: []string{"int"}}, {value: st.heartbeat, field: "HeartbeatSeconds", wants: []string{"int"}},
		{value: st.err, field: "Error", wants: []string{"string"}}, {value: st.cause, field: "Cause", wants: []string{"string"}},
		{value: st.output, role: ends}, {value: st.assign, field: "Assign", role: ends},
	}
	for _, r := range st.Choices {
		all = append(all, use{value: r.condition, field: "Condition", wants: []string{"bool"}}, use{value: r.output}, use{value: r.assign, field: "Assign"})
	}
	for _, c := range st.Catch {
		all = append(all, use{value: c.output, role: caught}, use{value: c.assign, field: "Assign", role: caught})
	}
	if st.flow != nil {
		for _, names := range st.assigns() {
			all = append(all, opaque(names))
		}
	}
	return slices.DeleteFunc(all, func(u use) bool { return u.value == nil })
}

// opaque is an Assign of the JSONPath language: its variables are there, and nothing is known of them.
func opaque(names map[string][]string) use {
	fields := map[string]*template{}
	for name := range names {
		fields[name] = nil
	}
	return use{value: &template{fields: fields}, field: "Assign"}
}

// typing is one round over the expressions of a definition.
type typing struct {
	l        *loader
	message  *expr.Type
	vars     *expr.Type
	checkers [caught + 1]*expr.Checker
	assigned map[string]*expr.Type
	open     bool // an Assign is an expression as a whole: it can set any variable
	last     bool
}

func (t *typing) use(u use) {
	if u.field == "Assign" && u.value.fields != nil {
		for name, field := range u.value.fields {
			got := t.value("vars."+name, field, u.role)
			if before := t.assigned[name]; before != nil {
				got = before.Join(got)
			}
			t.assigned[name] = got
		}
		return
	}
	t.open = t.open || u.field == "Assign"
	got := t.value("the value", u.value, u.role)
	if n := t.l.nodes[u.value]; t.last && n != nil && len(u.wants) > 0 && !got.Is(u.wants...) {
		t.l.mistake(n, "%s takes %s, and this expression gives %s", u.field, strings.Join(u.wants, " or "), got)
	}
}

// value is the type of a value, which messages call by the name; in the last round its faults are noted.
func (t *typing) value(name string, v *template, as role) *expr.Type {
	switch {
	case v == nil:
		return expr.Dyn()
	case v.program != nil:
		return t.expression(v, as)
	case v.fields != nil:
		fields := map[string]*expr.Type{}
		for _, field := range sorted(v.fields) {
			fields[field] = t.value(name+"."+field, v.fields[field], as)
		}
		return expr.Object(name, fields, false)
	case v.items != nil:
		for _, item := range v.items {
			t.value(name+"[]", item, as)
		}
		return expr.List(expr.Dyn())
	}
	return literalType(v.value)
}

// literalType is the type of a value that is written in a definition.
func literalType(v any) *expr.Type {
	switch v := v.(type) {
	case string:
		return expr.Text()
	case bool:
		return expr.Bool()
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return expr.Int()
		}
	}
	return expr.Dyn()
}

func (t *typing) expression(v *template, as role) *expr.Type {
	checker, err := t.checker(as)
	n := t.l.nodes[v]
	if err != nil || n == nil {
		return expr.Dyn()
	}
	found := checker.Check(v.source)
	if t.last {
		for _, fault := range found.Faults {
			t.l.note(n, v.source, fault, false)
		}
		for _, warning := range found.Warnings {
			t.l.note(n, v.source, warning, true)
		}
	}
	return found.Type
}

// checker is made when an expression of the role comes first.
func (t *typing) checker(as role) (*expr.Checker, error) {
	if c := t.checkers[as]; c != nil {
		return c, nil
	}
	c, err := expr.NewChecker(map[string]*expr.Type{"message": t.message, "vars": t.vars, "states": statesType(as)})
	t.checkers[as] = c
	return c, err
}

// statesType is what is known of the variable states.
func statesType(as role) *expr.Type {
	text := expr.Text()
	fields := map[string]*expr.Type{"input": expr.Dyn(), "context": expr.Object("states.context", map[string]*expr.Type{
		"State": expr.Object("states.context.State", map[string]*expr.Type{"Name": text, "RetryCount": expr.Int(), "EnteredTime": text}, true),
	}, true)}
	switch as {
	case plain:
	case resulted:
		fields["result"] = expr.Dyn()
	case caught:
		fields["errorOutput"] = expr.Object("states.errorOutput", map[string]*expr.Type{"Error": text, "Cause": text, "Details": expr.Dyn()}, false)
	}
	return expr.Object("states", fields, false)
}

// note tells of something within an expression, at its place in the definition's source.
func (l *loader) note(n *yaml.Node, source string, fault *expr.Error, warning bool) {
	at := strings.Index(n.Value, source) + offset(source, fault.Line, fault.Column)
	line, column := locate(l.def.Source, n, at)
	l.found = append(l.found, Finding{Line: line, Column: column, Warning: warning, Text: "in an expression: " + fault.Message})
}

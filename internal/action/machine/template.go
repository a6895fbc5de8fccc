package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/value"
	"github.com/avalhq/aval/internal/expr"
)

// template is a JSON value in which strings of the form "{% … %}" are expressions.
type template struct {
	literal json.RawMessage // when nothing in it is an expression
	value   any             // the literal, decoded
	program *expr.Program   // when it is one expression
	source  string
	fields  map[string]*template
	items   []*template
}

// constant makes of the template what is always raw.
func (t *template) constant(raw json.RawMessage) (err error) {
	t.literal = raw
	t.value, err = value.Decode(raw)
	return err
}

// variables are the names that expressions see.
var variables = []string{"message", "vars", "states"}

// expression reads a string that is one.
func (l *loader) expression(n *yaml.Node) *template {
	text := strings.TrimSpace(n.Value)
	inner, ok := strings.CutSuffix(text, "%}")
	if !ok || len(text) < len("{%%}") {
		l.mistake(n, "an expression begins with {%% and ends with %%}")
		return &template{}
	}
	source := strings.TrimSpace(strings.TrimPrefix(inner, "{%"))
	program, err := l.compile(source)
	var fault *expr.Error
	switch {
	case errors.As(err, &fault):
		l.note(n, source, fault, false)
	case err != nil:
		l.mistake(n, "%v", err)
	}
	t := &template{program: program, source: source}
	l.nodes[t] = n
	return t
}

// compile compiles a source once, however often it stands in the definition: compiling is most of what loading costs.
func (l *loader) compile(source string) (*expr.Program, error) {
	if program := l.programs[source]; program != nil {
		return program, nil
	}
	program, err := l.env.Compile(source)
	if err == nil {
		l.programs[source] = program
	}
	return program, err
}

// scope is what the evaluations of one state see; values are decoded when an expression that looks at them comes first.
type scope struct {
	m       *mover
	result  json.RawMessage
	failure json.RawMessage
	made    [len(members)]bool
	begun   bool
}

// members of the variable states.
var members = [...]string{"input", "result", "errorOutput", "context"}

// scope begins the evaluations of a state; those of the one before have ended.
func (m *mover) scope() *scope {
	m.sight = scope{m: m}
	return &m.sight
}

// variables are what a program looks at.
func (s *scope) variables(p *expr.Program) (map[string]any, error) {
	m := s.m
	if m.values == nil {
		m.stateValues = make(map[string]any, len(members))
		m.values = map[string]any{"states": m.stateValues, "message": m.env.Message}
	}
	if !s.begun {
		s.begun = true
		for _, name := range members {
			m.stateValues[name] = nil
		}
	}
	for i, name := range members {
		if s.made[i] || !p.Reads("states", name) {
			continue
		}
		v, err := s.member(name)
		if err != nil {
			return nil, err
		}
		s.made[i], m.stateValues[name] = true, v
	}
	if !p.Reads("vars", "") {
		return m.values, nil
	}
	vars, err := m.variables()
	if vars == nil {
		vars = map[string]any{}
	}
	m.values["vars"] = vars
	return m.values, err
}

// member makes one member of states.
func (s *scope) member(name string) (any, error) {
	switch {
	case name == "context":
		return s.context(), nil
	case name == "input" && s.m.place.Input != nil:
		return s.m.data()
	case name == "result" && s.result != nil:
		return value.Decode(s.result)
	case name == "errorOutput" && s.failure != nil:
		return value.Decode(s.failure)
	}
	return nil, nil
}

// context is what states.context tells.
func (s *scope) context() any {
	context := map[string]any{"State": map[string]any{
		"Name": s.m.place.State, "RetryCount": int64(max(s.m.place.Attempt-1, 0)), "EnteredTime": time.UnixMicro(s.m.place.Entered).UTC().Format(time.RFC3339Nano),
	}}
	if st := s.m.states[s.m.place.State]; st != nil {
		if token := s.m.token(st); token != "" {
			context["Task"] = map[string]any{"Token": token}
		}
	}
	if item := s.m.item; item != nil {
		context["Map"] = map[string]any{"Item": map[string]any{"Index": int64(item.index), "Value": item.value}}
	}
	return context
}

// evaluate gives the JSON of a template; nil for no template. An error fails the state and gives false.
func (m *mover) evaluate(st *State, t *template, sc *scope) (json.RawMessage, bool) {
	if t == nil {
		return nil, true
	}
	if t.literal != nil {
		return t.literal, true
	}
	v, ok := m.computed(st, t, sc)
	if !ok {
		return nil, false
	}
	raw, err := encode(v)
	if err != nil {
		m.unusable(st, err)
	}
	return raw, err == nil
}

// computed gives the value of a template. An error fails the state and gives false.
func (m *mover) computed(st *State, t *template, sc *scope) (any, bool) {
	v, err := t.eval(sc)
	if err != nil {
		m.unusable(st, fmt.Errorf("in state %s: %w", st.Name, err))
	}
	return v, err == nil
}

func (t *template) eval(sc *scope) (any, error) {
	switch {
	case t.literal != nil:
		return t.value, nil
	case t.program != nil:
		values, err := sc.variables(t.program)
		if err != nil {
			return nil, err
		}
		v, err := t.program.Eval(values)
		if err != nil {
			return nil, fmt.Errorf("the expression %q failed: %w", t.source, err)
		}
		return v, nil
	case t.fields != nil:
		object := make(map[string]any, len(t.fields))
		for name, field := range t.fields {
			v, err := field.eval(sc)
			if err != nil {
				return nil, err
			}
			object[name] = v
		}
		return object, nil
	}
	list := make([]any, len(t.items))
	for i, item := range t.items {
		v, err := item.eval(sc)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

func orInput(given, input json.RawMessage) json.RawMessage {
	if given != nil {
		return given
	}
	return input
}

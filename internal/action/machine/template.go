package machine

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/expr"
)

// template is a JSON value in which strings of the form "{% … %}" are expressions.
type template struct {
	line    int
	literal json.RawMessage // when nothing in it is an expression
	program *expr.Program   // when it is one expression
	source  string
	fields  map[string]*template
	items   []*template
}

// variables are the names that expressions see.
var variables = []string{"message", "vars", "states"}

func compile(env *expr.Env, text string, line int) (*template, error) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(text), "{%")
	if ok {
		inner, ok = strings.CutSuffix(inner, "%}")
	}
	if !ok {
		return nil, fmt.Errorf("line %d: an expression begins with {%% and ends with %%}", line)
	}
	program, err := env.Compile(strings.TrimSpace(inner))
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	return &template{line: line, program: program, source: strings.TrimSpace(inner)}, nil
}

// scope is what one evaluation sees; values are decoded when an expression asks first.
type scope struct {
	m       *mover
	input   json.RawMessage
	result  json.RawMessage
	failure json.RawMessage
	values  map[string]any
}

func (m *mover) scope() *scope { return &scope{m: m, input: m.place.Input} }

func (s *scope) variables() (map[string]any, error) {
	if s.values != nil {
		return s.values, nil
	}
	states := map[string]any{"context": map[string]any{
		"State": map[string]any{"Name": s.m.place.State, "RetryCount": int64(max(s.m.place.Attempt-1, 0)), "EnteredTime": time.UnixMicro(s.m.place.Entered).UTC().Format(time.RFC3339Nano)},
	}}
	if s.m.item != nil {
		item, err := s.m.item.decoded()
		if err != nil {
			return nil, err
		}
		states["context"].(map[string]any)["Map"] = item
	}
	for name, raw := range map[string]json.RawMessage{"input": s.input, "result": s.result, "errorOutput": s.failure} {
		if err := put(states, name, raw); err != nil {
			return nil, err
		}
	}
	values := map[string]any{"states": states, "message": s.m.env.Message()}
	if err := put(values, "vars", s.m.ext); err != nil {
		return nil, err
	}
	if values["vars"] == nil {
		values["vars"] = map[string]any{}
	}
	s.values = values
	return values, nil
}

// decoded is the item as expressions see it.
func (i *item) decoded() (any, error) {
	raw, err := encode(i.value)
	if err != nil {
		return nil, err
	}
	v, err := expr.Decode(raw)
	return map[string]any{"Item": map[string]any{"Index": int64(i.index), "Value": v}}, err
}

func put(into map[string]any, name string, raw json.RawMessage) error {
	if len(raw) == 0 {
		into[name] = nil
		return nil
	}
	value, err := expr.Decode(raw)
	into[name] = value
	return err
}

// evaluate gives the JSON of a template; nil for no template. An error fails the state and gives false.
func (m *mover) evaluate(st *State, t *template, sc *scope) (json.RawMessage, bool) {
	if t == nil {
		return nil, true
	}
	if t.literal != nil {
		return t.literal, true
	}
	value, err := t.eval(sc)
	raw := json.RawMessage(nil)
	if err == nil {
		raw, err = json.Marshal(value)
	}
	if err != nil {
		m.failed(st, ErrQuery, fmt.Sprintf("in state %s: %v", st.Name, err))
		return nil, false
	}
	return raw, true
}

func (t *template) eval(sc *scope) (any, error) {
	switch {
	case t.program != nil:
		values, err := sc.variables()
		if err != nil {
			return nil, err
		}
		value, err := t.program.Eval(values)
		if err != nil {
			return nil, fmt.Errorf("the expression %q failed: %w", t.source, err)
		}
		return value, nil
	case t.fields != nil:
		object := make(map[string]any, len(t.fields))
		for name, field := range t.fields {
			value, err := field.eval(sc)
			if err != nil {
				return nil, err
			}
			object[name] = value
		}
		return object, nil
	case t.items != nil:
		list := make([]any, len(t.items))
		for i, item := range t.items {
			value, err := item.eval(sc)
			if err != nil {
				return nil, err
			}
			list[i] = value
		}
		return list, nil
	}
	return t.literal, nil
}

// merge sets the variables of an Assign in the ext.
func merge(ext, assigned json.RawMessage) (json.RawMessage, error) {
	if assigned == nil {
		return ext, nil
	}
	all, more := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if len(ext) > 0 {
		if err := json.Unmarshal(ext, &all); err != nil {
			return nil, fmt.Errorf("the ext of the message is not a JSON object: %w", err)
		}
	}
	if err := json.Unmarshal(assigned, &more); err != nil {
		return nil, fmt.Errorf("Assign did not give a JSON object: %w", err)
	}
	maps.Copy(all, more)
	return json.Marshal(all)
}

func orInput(value, input json.RawMessage) json.RawMessage {
	if value != nil {
		return value
	}
	return input
}

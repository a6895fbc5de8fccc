package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/avalhq/aval/internal/action/machine/intrinsic"
	"github.com/avalhq/aval/internal/action/machine/jsonpath"
	"github.com/avalhq/aval/internal/action/machine/value"
)

// flow is how data goes through a state of the JSONPath language: InputPath, Parameters, the result, ResultSelector,
// ResultPath, OutputPath. Fields are set by type as the language says.
type flow struct {
	input      selection
	parameters *payload
	result     *payload // of a Pass
	selector   *payload
	target     selection // ResultPath
	output     selection
	assign     *payload
	seconds    *jsonpath.Path
	timestamp  *jsonpath.Path
	timeout    *jsonpath.Path
	heartbeat  *jsonpath.Path
	items      *jsonpath.Path
	concurrent *jsonpath.Path
	percentage *jsonpath.Path // of failures that a Map tolerates
	count      *jsonpath.Path
	err        *intrinsic.Expr
	cause      *intrinsic.Expr
}

// selection is a path field: absent, which means $, or null, or a path.
type selection struct {
	null bool
	path *jsonpath.Path
}

func (s selection) get(v *view) (any, error) {
	switch {
	case s.null:
		return map[string]any{}, nil
	case s.path == nil:
		return v.input, nil
	}
	return s.path.Get(v, &v.cost)
}

// put combines a result with the state's input.
func (s selection) put(input, result any) (any, error) {
	switch {
	case s.null:
		return input, nil
	case s.path == nil || s.path.Whole():
		return result, nil
	}
	out, err := s.path.Set(input, result)
	if err != nil {
		return nil, &failure{ErrResultPath, err}
	}
	return out, nil
}

// failure is an error with the name that the language gives it.
type failure struct {
	name string
	err  error
}

// Error is the sentence.
func (f *failure) Error() string { return f.err.Error() }

// view is what the expressions of one evaluation see.
type view struct {
	m       *mover
	input   any
	purpose string // of the evaluation: two that may stand in one state draw differently
	drawn   uint64
	cost    jsonpath.Cost
}

// view begins an evaluation; the one before has ended.
func (m *mover) view(input any, purpose string) *view {
	m.seen = view{m: m, input: input, purpose: purpose, cost: jsonpath.Cost{Left: jsonpath.DefaultCost}}
	return &m.seen
}

// Root gives what paths begin at.
func (v *view) Root(root jsonpath.Root, name string) (any, bool, error) {
	switch root {
	case jsonpath.Context:
		c, err := v.m.context()
		return c, true, err
	case jsonpath.Variable:
		vars, err := v.m.variables()
		found, ok := vars[name]
		return found, ok, err
	default:
		return v.input, true, nil
	}
}

// Draw gives random bytes that depend on the message, on how often it drew before, and on where the call stands: a Task that
// is begun again after a crash has the arguments that it had (I5).
func (v *view) Draw() (b [16]byte) {
	m := v.m
	m.drew = true
	seed := fmt.Appendf(nil, "%q %d %q %s %d ", m.env.Seed, m.place.Drawn, m.prefix+m.place.State, v.purpose, v.drawn)
	if m.env.Seed == "" {
		seed = binary.BigEndian.AppendUint64(seed, math.Float64bits(m.env.Random))
	}
	v.drawn++
	sum := sha256.Sum256(seed)
	copy(b[:], sum[:])
	return b
}

// data is the state's input, decoded once.
func (m *mover) data() (any, error) {
	if m.known {
		return m.value, nil
	}
	raw := m.place.Input
	if raw == nil {
		raw = m.env.Body
	}
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	if len(raw) > MaxData {
		return nil, &failure{ErrDataLimit, fmt.Errorf("the input has %d bytes; %d are allowed", len(raw), MaxData)}
	}
	v, err := value.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("the input of the state: %w", err)
	}
	m.value, m.known = v, true
	return v, nil
}

// variables are the ext, decoded once.
func (m *mover) variables() (map[string]any, error) {
	if m.vars != nil || len(m.ext) == 0 {
		return m.vars, nil
	}
	v, err := value.Decode(m.ext)
	if err != nil {
		return nil, fmt.Errorf("the variables: %w", err)
	}
	m.vars, _ = v.(map[string]any)
	return m.vars, nil
}

// encode writes a value of the size that the language allows.
func encode(v any) (json.RawMessage, error) {
	raw, err := value.Encode(v, MaxData)
	if errors.Is(err, value.ErrLimit) {
		err = &failure{ErrDataLimit, fmt.Errorf("the data has more than %d bytes", MaxData)}
	}
	return raw, err
}

// broken applies an error of an evaluation to the state.
func (m *mover) broken(st *State, err error) {
	name := ErrRuntime
	var named *failure
	var function *intrinsic.Error
	switch {
	case errors.As(err, &named):
		name = named.name
	case errors.As(err, &function):
		name = ErrIntrinsic
	}
	m.failed(st, name, fmt.Sprintf("in state %s: %v", st.Name, err))
}

// effective is the state's input after InputPath, and after Parameters.
func (m *mover) effective(st *State) (input, parameters any, err error) {
	v, err := m.data()
	if err != nil {
		return nil, nil, err
	}
	if input, err = st.flow.input.get(m.view(v, "input")); err != nil || st.flow.parameters == nil {
		return input, input, err
	}
	parameters, err = st.flow.parameters.eval(m.view(input, "parameters"))
	return input, parameters, err
}

// pass goes through a Pass state.
func (m *mover) pass(st *State) {
	_, result, err := m.effective(st)
	if err == nil && st.flow.result != nil {
		result = st.flow.result.constant
	}
	if err == nil {
		err = m.conclude(result, st.flow.target, st.flow.assign, st.flow.output)
	}
	m.onward(st, err, "passed")
}

// answered ends a state of which raw is the result.
func (m *mover) answered(st *State, raw json.RawMessage, what string) {
	result, err := value.Decode(raw)
	if err == nil && len(raw) > MaxData {
		m.theirs = true
		err = &failure{ErrDataLimit, fmt.Errorf("the result has %d bytes; %d are allowed", len(raw), MaxData)}
	}
	if err == nil && st.flow.selector != nil {
		result, err = st.flow.selector.eval(m.view(result, "selector"))
	}
	if err == nil {
		err = m.conclude(result, st.flow.target, st.flow.assign, st.flow.output)
	}
	m.onward(st, err, what)
}

// passed ends a state that has no result: its output is its input.
func (m *mover) passed(st *State, assign *payload) error {
	input, _, err := m.effective(st)
	if err != nil {
		return err
	}
	vars, err := m.assigned(assign, input)
	if err != nil {
		return err
	}
	out, err := st.flow.output.get(m.view(input, "output"))
	if err != nil {
		return err
	}
	return m.store(out, vars)
}

// conclude computes a state's output and variables from its result and stores both.
func (m *mover) conclude(result any, target selection, assign *payload, output selection) error {
	input, err := m.data()
	if err != nil {
		return err
	}
	vars, err := m.assigned(assign, result)
	if err != nil {
		return err
	}
	out, err := target.put(input, result)
	if err != nil {
		return err
	}
	if out, err = output.get(m.view(out, "output")); err != nil {
		return err
	}
	return m.store(out, vars)
}

// assigned gives the variables as they will be; nil when none is set.
func (m *mover) assigned(assign *payload, seen any) (map[string]any, error) {
	if assign == nil {
		return nil, nil
	}
	v, err := assign.eval(m.view(seen, "assign"))
	if err != nil {
		return nil, err
	}
	more, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("what Assign gives must be an object")
	}
	before, err := m.variables()
	if err != nil {
		return nil, err
	}
	all := make(map[string]any, len(before)+len(more))
	maps.Copy(all, before)
	maps.Copy(all, more)
	return all, nil
}

func (m *mover) store(out any, vars map[string]any) error {
	raw, err := encode(out)
	if err != nil {
		return err
	}
	if vars != nil {
		ext, err := encode(vars)
		if err != nil {
			return err
		}
		m.ext, m.vars = ext, vars
	}
	m.place.Input, m.value, m.known = raw, out, true
	return nil
}

// onward leaves a state that has come to its end, well or not.
func (m *mover) onward(st *State, err error, what string) {
	if err != nil {
		m.broken(st, err)
		return
	}
	m.visit(st.Name, what, "")
	m.advance(st.Next, st.End)
}

// arguments are what a Task's action is given.
func (m *mover) arguments(st *State) (json.RawMessage, error) {
	input, parameters, err := m.effective(st)
	if err != nil {
		return nil, err
	}
	if st.flow.timeout != nil {
		seconds, err := m.whole(st.flow.timeout, input, "TimeoutSecondsPath", 1)
		if err != nil {
			return nil, err
		}
		m.place.Limit = seconds
	}
	if st.flow.heartbeat != nil {
		seconds, err := m.whole(st.flow.heartbeat, input, "HeartbeatSecondsPath", 1)
		if err != nil {
			return nil, err
		}
		m.place.Pulse = seconds
	}
	return encode(parameters)
}

// whole reads a number of seconds.
func (m *mover) whole(path *jsonpath.Path, input any, field string, least int64) (int64, error) {
	v := m.view(input, field)
	found, err := path.Get(v, &v.cost)
	if err != nil {
		return 0, err
	}
	seconds, ok := value.Integer(found)
	if !ok || seconds < least || seconds > maxSeconds {
		return 0, fmt.Errorf("%s leads to something other than a whole number from %d to %d", field, least, maxSeconds)
	}
	return seconds, nil
}

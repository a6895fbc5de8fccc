package machine

import (
	"errors"
	"fmt"
	"time"
)

// What states of the JSONPath language do, where they differ.

func (m *mover) choosePath(st *State) {
	input, _, err := m.effective(st)
	if err != nil {
		m.broken(st, err)
		return
	}
	next, assign := st.Default, st.flow.assign
	for i := range st.Choices {
		rule := &st.Choices[i]
		ok, err := rule.test.holds(m.view(input, "choice"))
		if err != nil {
			m.broken(st, err)
			return
		}
		if ok {
			next, assign = rule.Next, rule.paths
			break
		}
	}
	if next == "" {
		m.failed(st, ErrNoChoice, fmt.Sprintf("no choice of %s holds and it has no Default", st.Name))
		return
	}
	if err := m.passed(st, assign); err != nil {
		m.broken(st, err)
		return
	}
	m.visit(st.Name, "chose", next)
	m.advance(next, false)
}

func (m *mover) succeed(st *State) {
	if err := m.passed(st, nil); err != nil {
		m.broken(st, err)
		return
	}
	m.visit(st.Name, "ended", "")
	m.advance("", true)
}

// unusable fails a state because a value is not what the field needs.
func (m *mover) unusable(st *State, err error) {
	if st.flow != nil {
		m.broken(st, err)
		return
	}
	name := ErrQuery
	var named *failure
	if errors.As(err, &named) {
		name = named.name
	}
	m.failed(st, name, err.Error())
}

// untilPath is the time for which a Wait waits that is told where to look.
func (m *mover) untilPath(st *State) (time.Time, error) {
	input, _, err := m.effective(st)
	if err != nil {
		return time.Time{}, err
	}
	if st.flow.seconds != nil {
		seconds, err := m.whole(st.flow.seconds, input, "SecondsPath", 0)
		return m.env.Now.Add(time.Duration(seconds) * time.Second), err
	}
	v := m.view(input, "TimestampPath")
	found, err := st.flow.timestamp.Get(v, &v.cost)
	if err != nil {
		return time.Time{}, err
	}
	at, ok := timestamp(found)
	if !ok {
		return at, fmt.Errorf("TimestampPath %s leads to something other than a time as RFC 3339 writes it", st.flow.timestamp)
	}
	return at, nil
}

// told is the Error or Cause of a Fail state, written there or found by a path.
func (m *mover) told(st *State, literal *template, field string) (string, bool) {
	if st.flow == nil || literal != nil {
		return m.text(st, literal)
	}
	computed := st.flow.err
	if field == "CausePath" {
		computed = st.flow.cause
	}
	if computed == nil {
		return "", true
	}
	input, err := m.data()
	var found any
	if err == nil {
		v := m.view(input, field)
		found, err = computed.Eval(v, &v.cost)
	}
	text, ok := found.(string)
	if err == nil && !ok {
		err = fmt.Errorf("%s must lead to a string", field)
	}
	if err != nil {
		m.broken(st, err)
	}
	return text, err == nil
}

// caughtPath goes on where a Catch leads: its ResultPath puts the error into the state's input.
func (m *mover) caughtPath(st *State, c *Catcher, name, cause string) {
	output := map[string]any{"Error": name, "Cause": cause}
	if err := m.conclude(output, c.target, c.paths, selection{}); err != nil {
		catching := *st // an error inside the Catch itself is not caught again
		catching.Catch, catching.Retry = nil, nil
		m.broken(&catching, err)
		return
	}
	m.visit(st.Name, "caught", name+": "+cause)
	m.advance(c.Next, false)
}

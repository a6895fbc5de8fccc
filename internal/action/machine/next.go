package machine

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Next gives the next Move of a message that stands at p with ext, after e.
func (d *Definition) Next(p Place, ext json.RawMessage, e Event, env Env) Move {
	m := &mover{def: d, states: d.States, env: env, place: p, ext: ext, key: forkKey}
	m.root = m
	if p.whole {
		m.changes, m.place.whole = p.everything(), false
	}
	m.drive(e)
	move := m.move()
	d.calls(&move, &p)
	return move
}

func (m *mover) move() Move {
	d, env := m.def, m.env
	if end := env.Execution.Started.Add(d.Timeout); d.Timeout > 0 && m.wait.After(end) {
		m.wait = end
	}
	if m.run != nil {
		m.runs = append(m.runs, *m.run)
	}
	return Move{Place: m.place, Ext: m.ext, Visits: m.visits, Runs: m.runs, Wait: m.wait, Done: m.done, Dropped: m.dropped, Changes: m.changes}
}

// drive applies an event and goes on until there is something to run, to wait for, or the end.
func (m *mover) drive(e Event) {
	m.react(e)
	for i := 0; m.run == nil && m.done == nil && m.wait.IsZero() && !m.idle; i++ {
		if i == MaxChain {
			m.fail(ErrRuntime, fmt.Sprintf("%d states were passed without a Task or a Wait: the workflow runs in a circle", MaxChain))
			break
		}
		if m.root.count++; m.root.count > MaxPassed {
			m.fail(ErrRuntime, fmt.Sprintf("more than %d states were passed at once, in all branches", MaxPassed))
			break
		}
		m.enter()
	}
}

// mover carries one Move while it is made.
type mover struct {
	def    *Definition
	states map[string]*State // of the workflow, or of the branch
	root   *mover            // of the workflow
	prefix string            // of the names of states within a branch
	key    string            // under which the parts of its branches are stored
	item   *item             // of the Map that the branch belongs to
	count  int               // states, in all branches; counted by the root
	env    Env
	place  Place
	ext    json.RawMessage
	visits []Visit
	run    *Run
	wait   time.Time
	done   *Done
	idle   bool // it waits for actions that were asked for, and perhaps for a time

	runs    []Run    // asked for in all branches; gathered by the root, as are
	dropped []string // the ways of branches that were abandoned
	changes Changes

	details json.RawMessage // of the failure under way

	list  []any // the items of the Map where it stands
	value any   // the state's input, when known
	known bool  //
	vars  map[string]any
	drew  bool  // the state has drawn random values
	seen  view  // the evaluation under way, in JSONPath
	sight scope // and in CEL

	values, stateValues map[string]any // what expressions of CEL see

	theirs bool // the error is what a Task came to
}

func (m *mover) visit(state, what, note string) {
	if m.visits == nil {
		m.visits = make([]Visit, 0, 4)
	}
	m.visits = append(m.visits, Visit{State: m.prefix + state, What: what, Note: note})
}

// react applies what happened to the place where the message stands.
func (m *mover) react(e Event) {
	st := m.states[m.place.State]
	if st == nil {
		m.fail(ErrRuntime, fmt.Sprintf("the workflow %s has no state %q", m.def.Ref(), m.place.State))
		return
	}
	if m.place.Fork == nil && (st.Type != Task || e.State != "" && (e.State != m.prefix+st.Name || m.place.Phase != Running)) {
		e.Kind = Due // only the action that was asked for can have answered
	}
	switch {
	case m.late():
		m.fail(ErrTimeout, fmt.Sprintf("the workflow was not finished %s after it began", m.def.Timeout))
	case m.place.Fork != nil:
		m.branches(st, e)
	case m.reply().Answer != nil:
		m.replied(st, m.reply())
	case e.Kind == Succeeded && st.Called:
		m.await(st)
	case e.Kind == Succeeded && st.flow != nil:
		m.answered(st, e.Output, "succeeded")
	case e.Kind == Succeeded:
		m.leave(st, e.Output, "succeeded")
	case e.Kind == Failed:
		m.theirs, m.details = true, e.Details
		m.failed(st, e.Error, e.Cause)
	case e.Kind == Later && m.overdue(st) && !m.withdraws(st):
		m.failed(st, ErrTimeout, fmt.Sprintf("%s was not finished %s after it began", st.Name, m.timeout(st)))
	case e.Kind == Later:
		m.ask(st, true)
	case e.Kind == Due && m.place.Phase == Running && st.Type == Task:
		m.idle = true
	default:
		m.fed(st)
	}
}

// fed goes on where the message stands.
func (m *mover) fed(st *State) {
	early := m.place.Until > m.env.Now.UnixMicro()
	switch m.place.Phase {
	case Fresh:
	case Running:
		if st.forks() {
			m.fork(st)
			return
		}
		if m.overdue(st) && !m.withdraws(st) {
			m.failed(st, ErrTimeout, fmt.Sprintf("%s was not finished %s after it began", st.Name, m.timeout(st)))
			return
		}
		m.ask(st, true)
	case Retry:
		if early {
			m.wait = m.place.until()
			return
		}
		m.place.Entered = m.env.Now.UnixMicro()
		if st.forks() {
			m.fork(st)
			return
		}
		m.ask(st, true)
	case Called:
		m.called(st)
	case Waiting:
		switch {
		case early:
			m.wait = m.place.until()
		case st.flow != nil:
			m.onward(st, m.passed(st, st.flow.assign), "waited")
		default:
			m.leave(st, nil, "waited")
		}
	}
}

// late tells whether the whole workflow has taken too long.
func (m *mover) late() bool {
	started := m.env.Execution.Started
	return m.def.Timeout > 0 && !started.IsZero() && !m.env.Now.Before(started.Add(m.def.Timeout))
}

// timeout of the state's attempt; 0: none.
func (m *mover) timeout(st *State) time.Duration {
	if m.place.Limit > 0 {
		return time.Duration(m.place.Limit) * time.Second
	}
	return st.Timeout
}

func (m *mover) overdue(st *State) bool {
	timeout := m.timeout(st)
	return timeout > 0 && m.env.Now.UnixMicro() >= m.place.Entered+timeout.Microseconds()
}

// withdraws tells whether the Task's action says itself that its time is over. It is asked once more then.
func (m *mover) withdraws(st *State) bool {
	withdraws := m.root.env.Withdraws
	return withdraws != nil && !st.Called && withdraws(st.Action)
}

// enter begins the state where the message stands.
func (m *mover) enter() {
	st := m.states[m.place.State]
	if st == nil {
		m.fail(ErrRuntime, fmt.Sprintf("the workflow %s has no state %q", m.def.Ref(), m.place.State))
		return
	}
	switch st.Type {
	case Task:
		m.place.Attempt, m.place.Entered = 1, m.env.Now.UnixMicro()
		m.ask(st, st.Effect && m.begin(m.prefix+st.Name))
		if st.Effect && len(m.visits) == 0 {
			m.visit(st.Name, "entered", "")
		}
	case Parallel, Map:
		m.place.Attempt, m.place.Entered = 1, m.env.Now.UnixMicro()
		m.fork(st)
	case Pass:
		if st.flow != nil {
			m.pass(st)
			return
		}
		m.leave(st, nil, "passed")
	case Choice:
		m.choose(st)
	case Wait:
		m.pause(st)
	case Succeed:
		if st.flow != nil {
			m.succeed(st)
			return
		}
		out, ok := m.evaluate(st, st.output, m.scope())
		if ok {
			m.visit(st.Name, "ended", "")
			m.done = &Done{Succeeded: true, Output: orInput(out, m.place.Input)}
		}
	case Fail:
		m.end(st)
	}
}

// ask makes the Run of the Task where the message stands.
func (m *mover) ask(st *State, resumed bool) {
	if st.Called && m.root.env.Token == nil {
		m.failed(st, ErrRuntime, fmt.Sprintf("%s needs a task token, and none are given out here", st.Name))
		return
	}
	opens := st.Called && m.place.Call == 0
	if opens {
		m.root.place.Calls++
		m.place.Call = m.root.place.Calls
	}
	arguments, ok := m.asked(st)
	if !ok {
		return
	}
	if opens && len(m.visits) == 0 {
		m.visit(st.Name, "entered", "") // a call is stored before its token is given away
	}
	m.place.Phase, m.place.Until = Running, 0
	m.run = &Run{State: m.prefix + st.Name, Action: st.Action, Effect: st.Effect, Arguments: orInput(arguments, m.place.Input), Attempt: m.place.Attempt, Resumed: resumed, Since: time.UnixMicro(m.place.Entered), Begun: m.root.place.Begun.Names()}
	if timeout := m.timeout(st); timeout > 0 {
		m.run.Deadline, m.run.Withdraws = time.UnixMicro(m.place.Entered).Add(timeout), m.withdraws(st)
	}
	if !st.Called {
		m.run.Heartbeat = m.heartbeat(st)
		return
	}
	m.run.Call, m.run.Token = m.place.Call, m.token(st)
}

func (m *mover) asked(st *State) (json.RawMessage, bool) {
	if st.flow == nil {
		sc := m.scope()
		if !m.computedSeconds(st, sc, st.timeout, "TimeoutSeconds", &m.place.Limit) || !m.computedSeconds(st, sc, st.heartbeat, "HeartbeatSeconds", &m.place.Pulse) {
			return nil, false
		}
		return m.evaluate(st, st.arguments, sc)
	}
	arguments, err := m.arguments(st)
	if err != nil {
		m.broken(st, err)
	}
	return arguments, err == nil
}

// leave ends a state that went well: result is the action's answer, nil for states without one.
func (m *mover) leave(st *State, result json.RawMessage, what string) {
	sc := m.scope()
	sc.result = result
	if m.proceed(st, sc, st.assign, st.output, result) {
		m.visit(st.Name, what, "")
		m.advance(st.Next, st.End)
	}
}

// proceed evaluates Output and Assign, both seeing the ext from before, and stores them. Where there is no Output, otherwise
// is it; where that is nil too, the state's input.
func (m *mover) proceed(st *State, sc *scope, assign, output *template, otherwise json.RawMessage) bool {
	var out any
	var vars map[string]any
	var ok bool
	raw, known := otherwise, false
	if output != nil {
		if out, ok = m.computed(st, output, sc); !ok {
			return false
		}
		var err error
		if raw, err = encode(out); err != nil {
			m.unusable(st, err)
			return false
		}
		known = true
	}
	if assign != nil {
		if vars, ok = m.set(st, assign, sc); !ok {
			return false
		}
	}
	if len(raw) > MaxData {
		m.failed(st, ErrDataLimit, fmt.Sprintf("the output of %s has %d bytes; %d are allowed", st.Name, len(raw), MaxData))
		return false
	}
	if vars != nil {
		ext, err := encode(vars)
		if err != nil {
			m.unusable(st, err)
			return false
		}
		m.ext, m.vars = ext, vars
	}
	if raw != nil {
		m.place.Input, m.value, m.known = raw, out, known
	}
	return true
}

// set gives the variables as an Assign leaves them.
func (m *mover) set(st *State, assign *template, sc *scope) (map[string]any, bool) {
	v, ok := m.computed(st, assign, sc)
	if !ok {
		return nil, false
	}
	more, ok := v.(map[string]any)
	if !ok {
		m.failed(st, ErrRuntime, "Assign did not give a JSON object")
		return nil, false
	}
	before, err := m.variables()
	if err != nil {
		m.failed(st, ErrRuntime, err.Error())
		return nil, false
	}
	all := make(map[string]any, len(before)+len(more))
	maps.Copy(all, before)
	maps.Copy(all, more)
	return all, true
}

func (m *mover) advance(next string, end bool) {
	if m.drew {
		m.place.Drawn, m.drew = m.place.Drawn+1, false
	}
	if end {
		m.done = &Done{Succeeded: true, Output: m.place.Input}
		return
	}
	m.place = m.place.at(next, m.place.Input)
	m.list = nil
}

func (m *mover) choose(st *State) {
	if st.flow != nil {
		m.choosePath(st)
		return
	}
	sc := m.scope()
	for i := range st.Choices {
		rule := &st.Choices[i]
		v, ok := m.computed(st, rule.condition, sc)
		if !ok {
			return
		}
		holds, ok := v.(bool)
		if !ok {
			m.failed(st, ErrQuery, fmt.Sprintf("a Condition of %s gave something other than true or false", st.Name))
			return
		}
		if holds {
			if m.proceed(st, sc, rule.assign, rule.output, nil) {
				m.visit(st.Name, "chose", rule.Next)
				m.advance(rule.Next, false)
			}
			return
		}
	}
	if st.Default == "" {
		m.failed(st, ErrNoChoice, fmt.Sprintf("no Condition of %s holds and it has no Default", st.Name))
		return
	}
	if m.proceed(st, sc, st.assign, st.output, nil) {
		m.visit(st.Name, "chose", st.Default)
		m.advance(st.Default, false)
	}
}

func (m *mover) pause(st *State) {
	until, err := m.until(st)
	if err != nil {
		m.unusable(st, err)
		return
	}
	if m.done != nil {
		return
	}
	m.place.Phase, m.place.Until = Waiting, until.UnixMicro()
	m.wait = until
	m.visit(st.Name, "waiting", "until "+until.UTC().Format(time.RFC3339Nano))
}

func (m *mover) until(st *State) (time.Time, error) {
	if st.flow != nil && st.seconds == nil && st.timestamp == nil {
		return m.untilPath(st)
	}
	sc := m.scope()
	if st.seconds != nil {
		var seconds int64
		raw, ok := m.evaluate(st, st.seconds, sc)
		if err := json.Unmarshal(raw, &seconds); ok && (err != nil || seconds < 0 || seconds > maxSeconds) {
			return time.Time{}, fmt.Errorf("Seconds of %s is not a whole number from 0 to %d", st.Name, maxSeconds)
		}
		return m.env.Now.Add(time.Duration(seconds) * time.Second), nil
	}
	var at time.Time
	raw, ok := m.evaluate(st, st.timestamp, sc)
	if err := json.Unmarshal(raw, &at); ok && err != nil {
		return at, fmt.Errorf("Timestamp of %s is not an RFC 3339 time", st.Name)
	}
	return at, nil
}

func (m *mover) end(st *State) {
	name, ok := m.told(st, st.err, "ErrorPath")
	if !ok {
		return
	}
	cause, ok := m.told(st, st.cause, "CausePath")
	if !ok {
		return
	}
	m.visit(st.Name, "ended", cause)
	m.done = &Done{Error: name, Cause: cause}
}

func (m *mover) text(st *State, t *template) (string, bool) {
	raw, ok := m.evaluate(st, t, m.scope())
	if !ok || raw == nil {
		return "", ok
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		m.failed(st, ErrQuery, fmt.Sprintf("Error and Cause of %s must be strings", st.Name))
		return "", false
	}
	return s, true
}

package machine

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// maxName bounds the name of a state or a variable, in characters, as Step Functions does.
const maxName = 80

// check looks at a definition as the language does: what it refers to, what can be reached, whether it can end.
func (l *loader) check() {
	l.checkStates("the workflow", within(l.doc, "StartAt"), l.def.StartAt, l.def.States)
	l.checkVariables(l.def.States, nil)
}

// checkStates looks at the states of the workflow or of a branch. What can be reached is told only of states that are whole:
// a misspelt Next would make all that follow unreachable.
func (l *loader) checkStates(where string, at *yaml.Node, startAt string, states map[string]*State) {
	switch {
	case len(states) == 0:
		l.mistake(at, "%s has no States; give at least one", where)
		return
	case startAt == "":
		l.mistake(at, "%s needs StartAt, the name of its first state", where)
		return
	case states[startAt] == nil:
		l.mistake(at, "StartAt names the state %q, which does not exist in %s; %s", startAt, where, meant(startAt, sorted(states)))
		return
	}
	for _, name := range sorted(states) {
		st := states[name]
		l.checkState(st, states)
		for i, b := range st.Branches {
			l.checkStates("a branch of "+name, l.branchAt(st, i, "StartAt"), b.StartAt, b.States)
		}
	}
	if len(l.found.Errors()) > 0 {
		return
	}
	reached := reach(startAt, states)
	ends := false
	for _, name := range sorted(states) {
		if !reached[name] {
			l.of(states[name], nil, "cannot be reached from StartAt; remove it or lead to it")
		}
		ends = ends || reached[name] && states[name].ends()
	}
	if !ends {
		l.mistake(at, "no state that can be reached ends %s; give one End: true, or lead to a Succeed or Fail", where)
	}
}

// branchAt is where a branch of a Parallel or Map stands.
func (l *loader) branchAt(st *State, i int, field string) *yaml.Node {
	for _, path := range [][]any{{"Branches", i, field}, {"ItemProcessor", field}, {"Iterator", field}} {
		if n := within(l.origin[st].node, path[0]); n != l.origin[st].node {
			return l.at(st, path...)
		}
	}
	return l.at(st)
}

// ends tells whether a message that comes here can be at its end.
func (st *State) ends() bool { return st.End || st.Type == Succeed || st.Type == Fail }

// of notes a mistake of a state, at the part of it that path leads to.
func (l *loader) of(st *State, path []any, format string, args ...any) {
	l.mistake(l.at(st, path...), "state %q "+format, append([]any{st.Name}, args...)...)
}

func (l *loader) checkState(st *State, states map[string]*State) {
	if utf8.RuneCountInString(st.Name) > maxName {
		l.of(st, nil, "has a name of more than %d characters", maxName)
	}
	for _, e := range st.Edges() {
		if e.To != "" && states[e.To] == nil {
			l.of(st, e.path, "leads to %q, which does not exist; %s", e.To, meant(e.To, sorted(states)))
		}
	}
	switch st.Type {
	case Task:
		l.checkTask(st)
		l.checkFlow(st)
	case Pass:
		l.checkFlow(st)
	case Parallel, Map:
		l.checkFork(st)
		l.checkFlow(st)
	case Wait:
		l.checkWait(st)
		l.checkFlow(st)
	case Fail:
		l.checkFail(st)
	case Choice:
		if len(st.Choices) == 0 {
			l.of(st, nil, "has no Choices; give at least one")
		}
	case Succeed:
	}
}

func (l *loader) checkWait(st *State) {
	ways := 0
	for _, given := range []bool{st.seconds != nil, st.timestamp != nil, st.flow != nil && st.flow.seconds != nil, st.flow != nil && st.flow.timestamp != nil} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 1 && st.flow != nil && !st.waitable():
		field := "Seconds"
		if st.timestamp != nil {
			field = "Timestamp"
		}
		l.of(st, []any{field}, "needs whole Seconds from 0 to 99999999, or a Timestamp as RFC 3339 writes it: 2026-01-31T12:00:00Z")
	case ways == 1:
	case st.flow == nil:
		l.of(st, nil, "needs either Seconds or Timestamp")
	default:
		l.of(st, nil, "needs one of Seconds, SecondsPath, Timestamp and TimestampPath")
	}
}

// waitable tells whether the Seconds or Timestamp written in a Wait can be waited for.
func (st *State) waitable() bool {
	switch {
	case st.seconds != nil:
		n, ok := value.Integer(json.Number(st.seconds.literal))
		return ok && n >= 0 && n <= maxSeconds
	case st.timestamp != nil:
		var s string
		err := json.Unmarshal(st.timestamp.literal, &s)
		_, ok := timestamp(s)
		return err == nil && ok
	}
	return true
}

func (l *loader) checkFork(st *State) {
	l.checkHandlers(st)
	switch {
	case st.Type == Parallel && len(st.Branches) == 0:
		l.of(st, []any{"Branches"}, "has no Branches; give at least one")
	case st.Type == Map && len(st.Branches) != 1:
		l.of(st, nil, "needs one ItemProcessor")
	}
}

func (l *loader) checkFail(st *State) {
	if f := st.flow; f != nil && (st.err != nil && f.err != nil || st.cause != nil && f.cause != nil) {
		l.of(st, nil, "has both Error and ErrorPath, or Cause and CausePath; leave one out")
	}
}

func (l *loader) checkFlow(st *State) {
	switch {
	case st.Next == "" && !st.End:
		l.of(st, nil, "needs either Next or End: true")
	case st.Next != "" && st.End:
		l.of(st, []any{"End"}, "has both Next and End; leave one out")
	}
}

func (l *loader) checkTask(st *State) {
	if f := st.flow; f != nil && (st.Timeout > 0 && f.timeout != nil || st.Heartbeat > 0 && f.heartbeat != nil) {
		l.of(st, nil, "has both TimeoutSeconds and TimeoutSecondsPath, or HeartbeatSeconds and HeartbeatSecondsPath; leave one out")
	}
	if st.Timeout > 0 && st.Heartbeat >= st.Timeout {
		l.of(st, []any{"HeartbeatSeconds"}, "must have HeartbeatSeconds below its TimeoutSeconds")
	}
	st.Action, st.Called = strings.CutSuffix(st.Resource, waitForToken)
	effect, known := l.rules.Actions(st.Action)
	st.Effect = effect || st.Called
	switch {
	case st.Resource == "":
		l.of(st, nil, "has no Resource; it names the action to run")
	case !known:
		l.of(st, []any{"Resource"}, "runs the action %q, which is not registered; %s", st.Action, meant(st.Action, l.rules.Names))
	}
	l.checkHandlers(st)
}

// checkHandlers holds Retry and Catch to the language's rule for States.ALL.
func (l *loader) checkHandlers(st *State) {
	check := func(field string, i, last int, names []string) {
		if slices.Contains(names, ErrAll) && (len(names) > 1 || i < last) {
			l.of(st, []any{field, i, "ErrorEquals"}, "has a %s for States.ALL that is not alone and last; what stands after it is never looked at", field)
		}
	}
	for i, r := range st.Retry {
		check("Retry", i, len(st.Retry)-1, r.Errors)
	}
	for i, c := range st.Catch {
		check("Catch", i, len(st.Catch)-1, c.Errors)
	}
}

func reach(startAt string, states map[string]*State) map[string]bool {
	reached := map[string]bool{startAt: true}
	for queue := []string{startAt}; len(queue) > 0; queue = queue[1:] {
		for _, e := range states[queue[0]].Edges() {
			if !reached[e.To] && states[e.To] != nil {
				reached[e.To] = true
				queue = append(queue, e.To)
			}
		}
	}
	return reached
}

package machine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// check looks at a definition as a whole: what it refers to, what can be reached, whether it can end.
func (l *loader) check() { l.checkStates("the workflow", l.def.StartAt, l.def.States) }

func (l *loader) checkStates(where, startAt string, states map[string]*State) {
	if states[startAt] == nil {
		l.mistakes = append(l.mistakes, fmt.Errorf("StartAt names the state %q, which does not exist in %s", startAt, where))
		return
	}
	before := len(l.mistakes)
	for _, name := range sorted(states) {
		st := states[name]
		l.checkState(st, states)
		for _, b := range st.Branches {
			l.checkStates("a branch of "+name, b.StartAt, b.States)
		}
	}
	if len(l.mistakes) > before {
		return
	}
	reached := reach(startAt, states)
	ends := false
	for _, name := range sorted(states) {
		st := states[name]
		if !reached[name] {
			l.at(st, "cannot be reached from StartAt; remove it or lead to it")
			continue
		}
		ends = ends || st.End || st.Type == Succeed || st.Type == Fail
	}
	if !ends {
		l.mistakes = append(l.mistakes, fmt.Errorf("no state that can be reached ends %s; give one End: true", where))
	}
}

func (l *loader) at(st *State, format string, args ...any) {
	l.mistakes = append(l.mistakes, fmt.Errorf("line %d: state %q %s", st.Line, st.Name, fmt.Sprintf(format, args...)))
}

func (l *loader) checkState(st *State, states map[string]*State) {
	for _, next := range st.successors() {
		if states[next] == nil {
			l.at(st, "leads to %q, which does not exist", next)
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
			l.at(st, "has no Choices")
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
		l.at(st, "needs whole Seconds from 0 to 99999999, or a Timestamp as RFC 3339 writes it: 2026-01-31T12:00:00Z")
	case ways == 1:
	case st.flow == nil:
		l.at(st, "needs either Seconds or Timestamp")
	default:
		l.at(st, "needs one of Seconds, SecondsPath, Timestamp and TimestampPath")
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
	l.checkCatch(st)
	switch {
	case st.Type == Parallel && len(st.Branches) == 0:
		l.at(st, "has no Branches")
	case st.Type == Map && len(st.Branches) != 1:
		l.at(st, "needs one ItemProcessor")
	}
}

func (l *loader) checkFail(st *State) {
	if f := st.flow; f != nil && (st.err != nil && f.err != nil || st.cause != nil && f.cause != nil) {
		l.at(st, "has both Error and ErrorPath, or Cause and CausePath")
	}
}

func (l *loader) checkFlow(st *State) {
	if (st.Next == "") == !st.End {
		l.at(st, "needs either Next or End: true")
	}
}

func (l *loader) checkTask(st *State) {
	if f := st.flow; f != nil && (st.Timeout > 0 && f.timeout != nil || st.Heartbeat > 0 && f.heartbeat != nil) {
		l.at(st, "has both TimeoutSeconds and TimeoutSecondsPath, or HeartbeatSeconds and HeartbeatSecondsPath")
	}
	if st.Timeout > 0 && st.Heartbeat >= st.Timeout {
		l.at(st, "must have HeartbeatSeconds below its TimeoutSeconds")
	}
	effect, known := l.actions(st.Resource)
	st.Effect = effect
	switch {
	case !known:
		l.at(st, "runs the action %q, which is not registered", st.Resource)
	case effect && !slices.ContainsFunc(st.Catch, func(c Catcher) bool { return slices.Contains(c.Errors, ErrAll) }):
		l.at(st, "has an outside effect and no Catch for States.ALL; say what happens when it fails for good")
	}
	l.checkCatch(st)
}

func (l *loader) checkCatch(st *State) {
	for i, c := range st.Catch {
		if slices.Contains(c.Errors, ErrAll) && (len(c.Errors) > 1 || i < len(st.Catch)-1) {
			l.at(st, "has a Catch for States.ALL that is not alone and last")
		}
	}
}

// successors lists the states that may follow.
func (st *State) successors() []string {
	var next []string
	if st.Next != "" {
		next = append(next, st.Next)
	}
	if st.Default != "" {
		next = append(next, st.Default)
	}
	for _, r := range st.Choices {
		next = append(next, r.Next)
	}
	for _, c := range st.Catch {
		next = append(next, c.Next)
	}
	return next
}

func reach(startAt string, states map[string]*State) map[string]bool {
	reached := map[string]bool{startAt: true}
	for queue := []string{startAt}; len(queue) > 0; queue = queue[1:] {
		for _, next := range states[queue[0]].successors() {
			if !reached[next] {
				reached[next] = true
				queue = append(queue, next)
			}
		}
	}
	return reached
}

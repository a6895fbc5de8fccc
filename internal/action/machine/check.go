package machine

import (
	"fmt"
	"slices"
)

// check looks at a definition as a whole: what it refers to, what can be reached, whether it can end.
func (l *loader) check() {
	if l.def.States[l.def.StartAt] == nil {
		l.mistakes = append(l.mistakes, fmt.Errorf("StartAt names the state %q, which does not exist", l.def.StartAt))
		return
	}
	for _, name := range sorted(l.def.States) {
		l.checkState(l.def.States[name])
	}
	if len(l.mistakes) > 0 {
		return
	}
	reached := l.reach()
	ends := false
	for _, name := range sorted(l.def.States) {
		st := l.def.States[name]
		if !reached[name] {
			l.at(st, "cannot be reached from StartAt; remove it or lead to it")
			continue
		}
		ends = ends || st.End || st.Type == Succeed || st.Type == Fail
	}
	if !ends {
		l.mistakes = append(l.mistakes, fmt.Errorf("no state that can be reached ends the workflow; give one End: true"))
	}
}

func (l *loader) at(st *State, format string, args ...any) {
	l.mistakes = append(l.mistakes, fmt.Errorf("line %d: state %q %s", st.Line, st.Name, fmt.Sprintf(format, args...)))
}

func (l *loader) checkState(st *State) {
	for _, next := range st.successors() {
		if l.def.States[next] == nil {
			l.at(st, "leads to %q, which does not exist", next)
		}
	}
	switch st.Type {
	case Task:
		l.checkTask(st)
		l.checkFlow(st)
	case Pass:
		l.checkFlow(st)
	case Wait:
		if (st.seconds == nil) == (st.timestamp == nil) {
			l.at(st, "needs either Seconds or Timestamp")
		}
		l.checkFlow(st)
	case Choice:
		if len(st.Choices) == 0 {
			l.at(st, "has no Choices")
		}
	case Succeed, Fail:
	}
}

func (l *loader) checkFlow(st *State) {
	if (st.Next == "") == !st.End {
		l.at(st, "needs either Next or End: true")
	}
}

func (l *loader) checkTask(st *State) {
	effect, known := l.actions(st.Resource)
	st.Effect = effect
	switch {
	case !known:
		l.at(st, "runs the action %q, which is not registered", st.Resource)
	case effect && !slices.ContainsFunc(st.Catch, func(c Catcher) bool { return slices.Contains(c.Errors, ErrAll) }):
		l.at(st, "has an outside effect and no Catch for States.ALL; say what happens when it fails for good")
	}
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

func (l *loader) reach() map[string]bool {
	reached := map[string]bool{l.def.StartAt: true}
	for queue := []string{l.def.StartAt}; len(queue) > 0; queue = queue[1:] {
		for _, next := range l.def.States[queue[0]].successors() {
			if !reached[next] {
				reached[next] = true
				queue = append(queue, next)
			}
		}
	}
	return reached
}

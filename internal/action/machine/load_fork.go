package machine

import (
	"go.yaml.in/yaml/v3"
)

// fork are the fields of a Parallel or a Map that others do not have.
func (l *loader) fork(st *State) map[string]func(*yaml.Node) {
	if st.Type == Parallel {
		return map[string]func(*yaml.Node){"Branches": l.list(func(n *yaml.Node) { l.branch(st, n) })}
	}
	tolerate := func(read func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) {
			st.limits.tolerant = true
			read(n)
		}
	}
	return map[string]func(*yaml.Node){
		"ItemProcessor":                  func(n *yaml.Node) { l.branch(st, n) },
		"Iterator":                       func(n *yaml.Node) { l.branch(st, n) },
		"ItemsPath":                      l.path("ItemsPath", &st.flow.items),
		"ItemSelector":                   l.payloadField(&st.flow.parameters),
		"Label":                          func(*yaml.Node) {},
		"MaxConcurrency":                 l.whole(&st.limits.concurrency),
		"MaxConcurrencyPath":             l.path("MaxConcurrencyPath", &st.flow.concurrent),
		"ToleratedFailureCount":          tolerate(l.whole(&st.limits.count)),
		"ToleratedFailureCountPath":      tolerate(l.path("ToleratedFailureCountPath", &st.flow.count)),
		"ToleratedFailurePercentage":     tolerate(l.percentage(&st.limits.percentage)),
		"ToleratedFailurePercentagePath": tolerate(l.path("ToleratedFailurePercentagePath", &st.flow.percentage)),
	}
}

func (l *loader) percentage(into *float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if l.number(into)(n); *into < 0 || *into > 100 {
			l.mistake(n, "want a percentage from 0 to 100")
		}
	}
}

// branch reads the states of a branch, or of a Map's iterations.
func (l *loader) branch(st *State, n *yaml.Node) {
	if l.forked++; l.forked > maxForks {
		l.mistake(n, "Parallel and Map stand more than %d deep within one another", maxForks)
		return
	}
	b, outer := &States{States: map[string]*State{}}, l.states
	l.states = b.States
	defer func() { l.states, l.forked = outer, l.forked-1 }()
	l.fields(n, "a branch of "+st.Name, map[string]func(*yaml.Node){
		"StartAt": l.text(&b.StartAt), "States": l.all, "Comment": func(*yaml.Node) {}, "ProcessorConfig": l.processor,
		"QueryLanguage": func(*yaml.Node) {},
	})
	st.Branches = append(st.Branches, b)
}

// processor reads how a Map runs its iterations: within the workflow, or not here.
func (l *loader) processor(n *yaml.Node) {
	mode := "INLINE"
	l.fields(n, "ProcessorConfig", map[string]func(*yaml.Node){"Mode": l.text(&mode), "ExecutionType": func(*yaml.Node) {}})
	if mode != "INLINE" {
		l.mistake(n, "a Map runs with Mode INLINE; a distributed one would be workflows of their own: submit a message for each item")
	}
}

package machine

import (
	"go.yaml.in/yaml/v3"
)

// fork are the fields of a Parallel or a Map that others do not have.
func (l *loader) fork(st *State) map[string]func(*yaml.Node) {
	if st.Type == Parallel {
		return map[string]func(*yaml.Node){"Branches": l.list(func(n *yaml.Node) { l.branch(st, n) })}
	}
	return map[string]func(*yaml.Node){
		"ItemProcessor":                  func(n *yaml.Node) { l.branch(st, n) },
		"Iterator":                       func(n *yaml.Node) { l.branch(st, n) },
		"ItemsPath":                      l.path("ItemsPath", &st.flow.items),
		"ItemSelector":                   l.payloadField(&st.flow.parameters),
		"ItemReader":                     l.distributed("ItemReader"),
		"ItemBatcher":                    l.distributed("ItemBatcher"),
		"ResultWriter":                   l.distributed("ResultWriter"),
		"Label":                          func(*yaml.Node) {},
		"MaxConcurrency":                 l.whole(&st.limits.concurrency),
		"MaxConcurrencyPath":             l.path("MaxConcurrencyPath", &st.flow.concurrent),
		"ToleratedFailureCount":          l.tolerate(st, l.whole(&st.limits.count)),
		"ToleratedFailureCountPath":      l.tolerate(st, l.path("ToleratedFailureCountPath", &st.flow.count)),
		"ToleratedFailurePercentage":     l.tolerate(st, l.percentage(&st.limits.percentage)),
		"ToleratedFailurePercentagePath": l.tolerate(st, l.path("ToleratedFailurePercentagePath", &st.flow.percentage)),
	}
}

// celFork are those fields in the CEL language.
func (l *loader) celFork(st *State) map[string]func(*yaml.Node) {
	known := map[string]func(*yaml.Node){
		"Retry": l.list(func(n *yaml.Node) { l.retrier(st, n) }),
		"Catch": l.list(func(n *yaml.Node) { l.catcher(st, n) }),
	}
	if st.Type == Parallel {
		known["Arguments"] = l.template(&st.arguments)
		known["Branches"] = l.list(func(n *yaml.Node) { l.branch(st, n) })
		return known
	}
	known["Items"], known["ItemSelector"] = l.template(&st.items), l.template(&st.selector)
	known["ItemProcessor"] = func(n *yaml.Node) { l.branch(st, n) }
	known["MaxConcurrency"] = l.whole(&st.limits.concurrency)
	known["ToleratedFailureCount"] = l.tolerate(st, l.whole(&st.limits.count))
	known["ToleratedFailurePercentage"] = l.tolerate(st, l.percentage(&st.limits.percentage))
	return known
}

// tolerate notes that some items of a Map may fail.
func (l *loader) tolerate(st *State, read func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		st.limits.tolerant = true
		read(n)
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

// distributed refuses a field of Maps that run as workflows of their own.
func (l *loader) distributed(field string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		l.mistake(n, "%s belongs to distributed Maps, and a Map runs within its workflow here: take the items from its input, or submit a message for each", field)
	}
}

// processor reads how a Map runs its iterations: within the workflow, or not here.
func (l *loader) processor(n *yaml.Node) {
	mode := "INLINE"
	l.fields(n, "ProcessorConfig", map[string]func(*yaml.Node){"Mode": l.text(&mode), "ExecutionType": func(*yaml.Node) {}})
	if mode != "INLINE" {
		l.mistake(n, "a Map runs with Mode INLINE; a distributed one would be workflows of their own: submit a message for each item")
	}
}

package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/expr"
	"github.com/avalhq/aval/internal/nearest"
)

// Actions tells of an action whether it is registered and whether it has an outside effect.
type Actions func(name string) (effect, known bool)

// Load reads a definition from YAML or JSON and checks what the language asks of it: what every engine that runs it would.
// The error names every fault with its place, and holds Findings.
func Load(name string, source []byte, actions Actions) (*Definition, error) {
	d, found := read(name, source, Rules{Actions: actions}, (*loader).check)
	if d == nil {
		return nil, found.Refused(name)
	}
	return d, nil
}

// Rules are what a definition is held to before it is used in an installation.
type Rules struct {
	Actions Actions
	Names   []string                   // of the actions, to say which was meant
	Parks   func(action string) bool   // tells of an action without an effect that it can hold a message up; nil: none does
	Undo    func(action string) string // names the action that takes back what one has done, where a workflow has to have it; nil: none

	// Message is what is known of the messages of a type, which the definition of that name is for; nil: there is no such type. Nil
	// as a whole: expressions are not checked against it.
	Message func(name string) *expr.Type
}

// Review reads a definition as Load does and looks further, at what an installation asks of its own workflows: that a message
// comes to an end from every state, that an effect is caught when it fails, that no loop runs without a pause. It gives
// everything that it finds, warnings too. The definition is nil when there is an error among them.
func Review(name string, source []byte, rules Rules) (*Definition, Findings) {
	return read(name, source, rules, (*loader).review)
}

func read(name string, source []byte, rules Rules, check func(*loader)) (*Definition, Findings) {
	sum := sha256.Sum256(source)
	d := &Definition{Name: name, Hash: hex.EncodeToString(sum[:8]), States: map[string]*State{}, Source: source}
	doc, fault := parse(source)
	if fault != nil {
		return nil, Findings{*fault}
	}
	l := &loader{def: d, doc: doc, rules: rules, states: d.States, names: map[string]*State{}, origin: map[*State]origin{}, nodes: map[*template]*yaml.Node{}, programs: map[string]*expr.Program{}}
	l.definition(doc)
	if doc.Kind == yaml.MappingNode && !l.unread {
		check(l)
	}
	found := l.found.sorted()
	if len(found.Errors()) > 0 {
		return nil, found
	}
	return d, found
}

// loader reads a definition and gathers what is wrong with it.
type loader struct {
	def      *Definition
	doc      *yaml.Node
	rules    Rules
	env      *expr.Env // made when a state of the CEL language comes
	language string    // of states that do not say one
	depth    int       // of conditions
	found    Findings

	states map[string]*State // of the workflow or branch that is read
	names  map[string]*State // all states
	origin map[*State]origin
	nodes  map[*template]*yaml.Node // of expressions

	programs map[string]*expr.Program // by source
	forked   int                      // how many Parallels and Maps deep
	unread   bool                     // a part of it is in a language that is not read
}

// origin is where a state stands in the source.
type origin struct{ key, node *yaml.Node }

// maxForks bounds Parallel and Map within one another.
const maxForks = 8

// maxConditions bounds And, Or and Not within one another.
const maxConditions = 32

func (l *loader) mistake(n *yaml.Node, format string, args ...any) {
	l.found = append(l.found, Finding{Line: n.Line, Column: n.Column, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) warn(n *yaml.Node, format string, args ...any) {
	l.found = append(l.found, Finding{Line: n.Line, Column: n.Column, Warning: true, Text: fmt.Sprintf(format, args...)})
}

// fields calls one function a field of a mapping; fields without one are mistakes.
func (l *loader) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		l.mistake(n, "%s must be an object", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case seen[key.Value]:
			l.mistake(key, "%s has the field %q twice", what, key.Value)
		case !ok:
			l.mistake(key, "%s does not have a field %q; %s", what, key.Value, meant(key.Value, sorted(known)))
		default:
			read(value)
		}
		seen[key.Value] = true
	}
}

// meant says what to write in place of an unknown name.
func meant(name string, known []string) string {
	if n := nearest.Of(name, known); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	if len(known) == 0 {
		return "there is none"
	}
	return "there are " + strings.Join(known, ", ")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// The query languages.
const (
	languageCEL  = "CEL"
	languagePath = "JSONPath"
	languageNone = "JSONata" // which is not read: what stands in it is not looked at
)

// query reads a QueryLanguage that stands in an object.
func (l *loader) query(n *yaml.Node, otherwise string) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "QueryLanguage" {
			continue
		}
		switch language := n.Content[i+1].Value; language {
		case languageCEL, languagePath:
			return language
		case languageNone:
			l.unread = true
			l.mistake(n.Content[i+1], "QueryLanguage JSONata is not read; write QueryLanguage: CEL and the expressions between {%% and %%} in CEL, or QueryLanguage: JSONPath and paths")
			return languageNone
		default:
			l.mistake(n.Content[i+1], "QueryLanguage is %q; it must be JSONPath, which is assumed where there is none, or CEL", language)
		}
	}
	return otherwise
}

func (l *loader) definition(n *yaml.Node) {
	l.language = l.query(n, languagePath)
	l.fields(n, "a workflow", map[string]func(*yaml.Node){
		"Comment":        l.text(&l.def.Comment),
		"StartAt":        l.text(&l.def.StartAt),
		"QueryLanguage":  func(*yaml.Node) {},
		"Version":        l.version,
		"TimeoutSeconds": l.seconds(&l.def.Timeout),
		"States":         l.all,
	})
}

// all reads the states of the workflow or of a branch.
func (l *loader) all(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.mistake(n, "States must be an object")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		l.state(n.Content[i], n.Content[i+1])
	}
}

func (l *loader) version(n *yaml.Node) {
	if n.Value != "1.0" {
		l.mistake(n, "the Version of the language is 1.0")
	}
}

func (l *loader) state(key, n *yaml.Node) {
	st := &State{Name: key.Value}
	if other := l.names[st.Name]; other != nil {
		l.mistake(key, "there is a state %q in line %d already; names are unique, in branches also", st.Name, l.origin[other].key.Line)
		return
	}
	l.names[st.Name], l.states[st.Name], l.origin[st] = st, st, origin{key, n}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "Type" {
				st.Type = Type(n.Content[i+1].Value)
			}
		}
	}
	var known map[string]func(*yaml.Node)
	language := l.query(n, l.language)
	switch {
	case language == languageNone:
		return
	case st.Type == "":
		l.mistake(key, "state %q has no Type; there are Task, Choice, Pass, Wait, Parallel, Map, Succeed and Fail", st.Name)
		return
	case !slices.Contains([]Type{Task, Pass, Wait, Choice, Succeed, Fail, Parallel, Map}, st.Type):
		l.mistake(l.at(st, "Type"), "state %q has the Type %q; there are Task, Choice, Pass, Wait, Parallel, Map, Succeed and Fail", st.Name, st.Type)
		return
	case language == languageCEL:
		known = l.celFields(st, n)
	default:
		known = l.pathFields(st)
	}
	known["Type"], known["QueryLanguage"], known["Comment"] = func(*yaml.Node) {}, func(*yaml.Node) {}, l.text(&st.Comment)
	l.fields(n, fmt.Sprintf("%s state %q", st.Type, st.Name), known)
}

// celFields are the fields of a state of the CEL language.
func (l *loader) celFields(st *State, n *yaml.Node) map[string]func(*yaml.Node) {
	if l.env == nil {
		var err error
		if l.env, err = expr.NewEnv(variables...); err != nil {
			l.mistake(n, "the expressions cannot be prepared: %v", err)
		}
	}
	known := map[string]func(*yaml.Node){}
	add := func(fields map[string]func(*yaml.Node)) {
		for name, read := range fields {
			known[name] = read
		}
	}
	flow := map[string]func(*yaml.Node){"Next": l.text(&st.Next), "End": l.flag(&st.End), "Output": l.template(&st.output), "Assign": l.template(&st.assign)}
	switch st.Type {
	case Task:
		add(flow)
		add(l.task(st))
	case Parallel, Map:
		add(flow)
		add(l.celFork(st))
	case Pass:
		add(flow)
	case Wait:
		add(flow)
		add(map[string]func(*yaml.Node){"Seconds": l.template(&st.seconds), "Timestamp": l.template(&st.timestamp)})
	case Choice:
		add(map[string]func(*yaml.Node){"Default": l.text(&st.Default), "Output": l.template(&st.output), "Assign": l.template(&st.assign), "Choices": l.list(func(n *yaml.Node) { l.rule(st, n) })})
	case Succeed:
		add(map[string]func(*yaml.Node){"Output": l.template(&st.output)})
	case Fail:
		add(map[string]func(*yaml.Node){"Error": l.template(&st.err), "Cause": l.template(&st.cause)})
	}
	return known
}

func (l *loader) task(st *State) map[string]func(*yaml.Node) {
	return map[string]func(*yaml.Node){
		"Resource":         l.text(&st.Resource),
		"Arguments":        l.template(&st.arguments),
		"TimeoutSeconds":   l.secondsOr(&st.Timeout, &st.timeout),
		"HeartbeatSeconds": l.secondsOr(&st.Heartbeat, &st.heartbeat),
		"Retry":            l.list(func(n *yaml.Node) { l.retrier(st, n) }),
		"Catch":            l.list(func(n *yaml.Node) { l.catcher(st, n) }),
	}
}

func (l *loader) retrier(st *State, n *yaml.Node) {
	r := Retrier{Interval: defaultInterval, Max: defaultAttempts, Backoff: defaultBackoff}
	var jitter string
	l.fields(n, "a Retry of "+st.Name, map[string]func(*yaml.Node){
		"ErrorEquals":     l.texts(&r.Errors),
		"IntervalSeconds": l.seconds(&r.Interval),
		"MaxAttempts":     l.whole(&r.Max),
		"BackoffRate":     l.number(&r.Backoff),
		"MaxDelaySeconds": l.seconds(&r.MaxDelay),
		"JitterStrategy":  l.text(&jitter),
		"Comment":         func(*yaml.Node) {},
	})
	r.Jitter = jitter == "FULL"
	switch {
	case len(r.Errors) == 0:
		l.mistake(n, "a Retry of %s needs ErrorEquals", st.Name)
	case r.Backoff < 1:
		l.mistake(within(n, "BackoffRate"), "the BackoffRate of a Retry of %s is under 1; with 1 all delays are alike", st.Name)
	case jitter != "" && jitter != "FULL" && jitter != "NONE":
		l.mistake(within(n, "JitterStrategy"), "the JitterStrategy of a Retry of %s must be FULL or NONE", st.Name)
	}
	st.Retry = append(st.Retry, r)
}

func (l *loader) catcher(st *State, n *yaml.Node) {
	var c Catcher
	l.fields(n, "a Catch of "+st.Name, map[string]func(*yaml.Node){
		"ErrorEquals": l.texts(&c.Errors), "Next": l.text(&c.Next), "Assign": l.template(&c.assign), "Output": l.template(&c.output), "Comment": func(*yaml.Node) {},
	})
	if len(c.Errors) == 0 || c.Next == "" {
		l.mistake(n, "a Catch of %s needs ErrorEquals and Next", st.Name)
	}
	st.Catch = append(st.Catch, c)
}

func (l *loader) rule(st *State, n *yaml.Node) {
	var r Rule
	l.fields(n, "a choice of "+st.Name, map[string]func(*yaml.Node){
		"Condition": l.template(&r.condition), "Next": l.text(&r.Next), "Assign": l.template(&r.assign), "Output": l.template(&r.output), "Comment": func(*yaml.Node) {},
	})
	if r.condition == nil || r.Next == "" {
		l.mistake(n, "a choice of %s needs Condition and Next", st.Name)
	}
	st.Choices = append(st.Choices, r)
}

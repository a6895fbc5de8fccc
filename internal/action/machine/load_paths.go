package machine

import (
	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/action/machine/intrinsic"
	"github.com/avalhq/aval/internal/action/machine/jsonpath"
)

// pathFields are the fields of a state of the JSONPath language.
func (l *loader) pathFields(st *State) map[string]func(*yaml.Node) {
	f := &flow{}
	st.flow = f
	known := map[string]func(*yaml.Node){"InputPath": l.selection("InputPath", &f.input), "OutputPath": l.selection("OutputPath", &f.output)}
	add := func(fields map[string]func(*yaml.Node)) {
		for name, read := range fields {
			known[name] = read
		}
	}
	next := map[string]func(*yaml.Node){"Next": l.text(&st.Next), "End": l.flag(&st.End), "Assign": l.payloadField(&f.assign)}
	result := map[string]func(*yaml.Node){"Parameters": l.payloadField(&f.parameters), "ResultPath": l.target(&f.target)}
	switch st.Type {
	case Task:
		add(next)
		add(result)
		add(l.pathTask(st))
	case Parallel, Map:
		add(next)
		add(result)
		add(l.handlers(st))
		add(l.fork(st))
	case Pass:
		add(next)
		add(result)
		known["Result"] = func(n *yaml.Node) { f.result = &payload{constant: l.constant(n)} }
	case Wait:
		add(next)
		add(map[string]func(*yaml.Node){
			"Seconds": l.literalField(&st.seconds), "SecondsPath": l.path("SecondsPath", &f.seconds),
			"Timestamp": l.literalField(&st.timestamp), "TimestampPath": l.path("TimestampPath", &f.timestamp),
		})
	case Choice:
		add(map[string]func(*yaml.Node){"Default": l.text(&st.Default), "Assign": l.payloadField(&f.assign), "Choices": l.list(func(n *yaml.Node) { l.pathRule(st, n) })})
	case Succeed:
	case Fail:
		return map[string]func(*yaml.Node){
			"Error": l.literalField(&st.err), "ErrorPath": l.computedField("ErrorPath", &f.err),
			"Cause": l.literalField(&st.cause), "CausePath": l.computedField("CausePath", &f.cause),
		}
	}
	return known
}

func (l *loader) pathTask(st *State) map[string]func(*yaml.Node) {
	known := l.handlers(st)
	for name, read := range map[string]func(*yaml.Node){
		"Resource":             l.text(&st.Resource),
		"Credentials":          func(n *yaml.Node) { l.payload(n) },
		"TimeoutSeconds":       l.seconds(&st.Timeout),
		"TimeoutSecondsPath":   l.path("TimeoutSecondsPath", &st.flow.timeout),
		"HeartbeatSeconds":     l.seconds(&st.Heartbeat),
		"HeartbeatSecondsPath": l.path("HeartbeatSecondsPath", &st.flow.heartbeat),
	} {
		known[name] = read
	}
	return known
}

// handlers are what Task, Parallel and Map do with results and errors.
func (l *loader) handlers(st *State) map[string]func(*yaml.Node) {
	return map[string]func(*yaml.Node){
		"ResultSelector": l.payloadField(&st.flow.selector),
		"Retry":          l.list(func(n *yaml.Node) { l.retrier(st, n) }),
		"Catch":          l.list(func(n *yaml.Node) { l.pathCatcher(st, n) }),
	}
}

func (l *loader) pathCatcher(st *State, n *yaml.Node) {
	var c Catcher
	l.fields(n, "a Catch of "+st.Name, map[string]func(*yaml.Node){
		"ErrorEquals": l.texts(&c.Errors), "Next": l.text(&c.Next), "ResultPath": l.target(&c.target), "Assign": l.payloadField(&c.paths), "Comment": func(*yaml.Node) {},
	})
	if len(c.Errors) == 0 || c.Next == "" {
		l.mistake(n, "a Catch of %s needs ErrorEquals and Next", st.Name)
	}
	st.Catch = append(st.Catch, c)
}

func (l *loader) payloadField(into **payload) func(*yaml.Node) {
	return func(n *yaml.Node) { *into = l.payload(n) }
}

// literalField reads a value in which nothing is computed.
func (l *loader) literalField(into **template) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v := l.constant(n)
		raw, err := encode(v)
		if err != nil {
			l.mistake(n, "%v", err)
		}
		*into = &template{literal: raw, value: v}
	}
}

func (l *loader) path(field string, into **jsonpath.Path) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			l.mistake(n, "%s must be a path", field)
			return
		}
		p, err := jsonpath.Parse(n.Value)
		if err != nil {
			l.mistake(n, "%s: %v", field, err)
			return
		}
		*into = p
	}
}

func (l *loader) selection(field string, into *selection) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if into.null = n.Tag == "!!null"; !into.null {
			l.path(field, &into.path)(n)
		}
	}
}

// target reads a ResultPath.
func (l *loader) target(into *selection) func(*yaml.Node) {
	return func(n *yaml.Node) {
		l.selection("ResultPath", into)(n)
		if into.path != nil && !into.path.Reference() {
			l.mistake(n, "ResultPath says where to write: use a reference path, of names and indexes only, that begins with $.")
		}
	}
}

func (l *loader) computedField(field string, into **intrinsic.Expr) func(*yaml.Node) {
	return func(n *yaml.Node) { *into = l.computed(field, n) }
}

// Package controlpoint is where Aval meets another system: actions that call it over HTTP, declared in YAML files.
//
// A file gives an action its name; the schemas of what it takes and of what it gives; the targets that can be asked; how
// arguments are translated into a request and an answer into a result, in CEL with exact decimals; which target is asked,
// by the content and the headers of what is asked; what each answer means; and, where the call has an effect, how to find
// out what came of it. docs/control-points.md is the manual.
//
// Contract of a call with an outside effect (I5): each target's request carries a key made of message, state and target. It is
// noted in the Journal before it leaves, and what came of it after. A request whose outcome is not known, because of a
// crash, a time limit or an answer that cannot be read, is never repeated blindly: the target is asked (lookup) and the
// request repeated only if it never came; or the target promises that the same key is the same request (idempotent); or the
// call fails with control-point-unknown, again and again, until a person has found out. What was done once gives its stored
// result however often the workflow comes by.
//
// Every control point is run as an action with an outside effect, also one that only asks: so it never holds up other
// messages, and a workflow has to say what happens when the other system fails for good.
//
// Targets are reached directly, over TLS, at public addresses; what else may be reached the configuration says, and it is
// judged when connecting (A27). Secrets are named in the files and never written there; they are read when a request is
// made, and taken out of answers that repeat them (I25).
package controlpoint

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/problem"
)

const maxResult = 200 << 10 // bytes of a result: what a state's output can hold, with room for what else is in it

// Suffix of the name of the action that takes back what a control point has done.
const Suffix = ".compensate"

// Observer is told what happens, for metrics. Each func may be nil.
type Observer struct {
	Call    func(point, target, outcome string, took time.Duration)
	Breaker func(point, target, state string) // closed, half-open, open
}

// Options are what control points are given besides their files.
type Options struct {
	Allowed Allowed
	Secret  func(ref string) (string, error) // reads "file:PATH" and "env:NAME"
	Verify  bool                             // refuse a file whose secrets cannot be read now
	Look    bool                             // nothing will be sent: take hosts that may not be reached and files of TLS that are not here
	Journal Journal                          // nil: nothing is kept, for trying a control point out
	Now     func() time.Time                 // nil: time.Now
	Observe Observer
	Log     *slog.Logger // nil: none
}

func (o Options) breaker(point, target, state string) {
	if o.Log != nil {
		o.Log.WarnContext(context.Background(), "the circuit breaker of a control point's target has changed", "point", point, "target", target, "state", state)
	}
	if o.Observe.Breaker != nil {
		o.Observe.Breaker(point, target, state)
	}
}

// Point is a control point: immutable, but for the breakers and limits of its targets; safe for concurrent use.
type Point struct {
	Name    string
	Comment string
	Effect  bool

	targets      map[string]*target
	call         *operation
	compensation *operation // nil: what was done cannot be taken back, or there is nothing to
	needed       bool       // workflows have to say where the compensation is run

	journal Journal
	options Options
}

// operation is what is asked for and what comes back: of the control point, and of its compensation.
type operation struct {
	name      string // of the action
	effect    bool
	arguments *jsonschema.Schema
	result    *jsonschema.Schema
	legs      map[string]*leg
	route     []rule // the first that holds says which targets
	all       []string
	headers   map[string]*template // of the request: what routes see
	gather    *gather              // nil: one target is asked
}

// rule is a line of a routing table.
type rule struct {
	when *template // nil: always
	to   []string
}

// Actions are what workflows can name: the control point, and its compensation where it has one.
func (p *Point) Actions() []step.Action {
	call := p.action(p.call)
	if p.compensation == nil {
		return []step.Action{call}
	}
	if p.needed {
		call.Undo = p.compensation.name
	}
	return []step.Action{call, p.action(p.compensation)}
}

func (p *Point) action(o *operation) step.Action {
	parallel := 0
	for _, t := range p.targets {
		parallel += t.parallel
	}
	return step.Action{Name: o.name, Effect: true, Parallel: parallel, Run: func(ctx context.Context, tasks []step.Task) []step.Outcome {
		out := make([]step.Outcome, len(tasks))
		for i, task := range tasks {
			out[i] = p.run(ctx, o, task)
		}
		return out
	}}
}

// run answers one task.
func (p *Point) run(ctx context.Context, o *operation, task step.Task) step.Outcome {
	c := &conversation{point: p, op: o, step: Step{task.Record.ID, task.Key()}, known: map[string]Entry{}}
	if err := c.open(ctx, task); err != nil {
		return step.Outcome{Err: err}
	}
	names, err := c.targets()
	if err != nil {
		return step.Outcome{Err: err}
	}
	if o.gather != nil {
		return c.scatter(ctx, names)
	}
	v := c.leg(ctx, names[0])
	switch {
	case v.err != nil:
		return step.Outcome{Err: v.err}
	case v.pending > 0:
		return step.Outcome{Later: v.pending, Note: names[0] + " is not finished"}
	}
	return step.Outcome{Output: v.result, Note: "answered by " + names[0]}
}

// conversation is one task under way.
type conversation struct {
	point   *Point
	op      *operation
	step    Step
	args    any
	message map[string]any
	known   map[string]Entry // by target
}

// open reads the task's arguments and what is known of earlier runs.
func (c *conversation) open(ctx context.Context, task step.Task) (err error) {
	if c.args, err = parse(task.Arguments); err == nil {
		err = fits(c.op.arguments, c.args)
	}
	if err != nil {
		return problem.New(problem.Invalid, "control-point-arguments-invalid", "the arguments of %s are not what it takes: %w", c.op.name, err)
	}
	body, err := parse(task.Record.Body)
	if err != nil {
		body = nil
	}
	rec := task.Record
	c.message = map[string]any{
		"id": string(rec.ID), "type": rec.Type, "client": rec.Client, "chain": rec.Chain, "signer": rec.Signer.Hex(),
		"expires": json.Number(strconv.FormatInt(rec.Expires.Unix(), 10)), "body": body,
	}
	if !c.op.effect || !task.Resumed || c.point.journal == nil {
		return nil
	}
	entries, err := c.point.journal.Find(ctx, c.step)
	for _, e := range entries {
		c.known[e.Target] = e
	}
	return err
}

// vars are what expressions see.
func (c *conversation) vars(l *leg, key string) map[string]any {
	return map[string]any{"args": c.args, "message": c.message, "target": l.name, "key": key}
}

// targets says which are asked. What was begun stays with the target that it was begun with, whatever the file says by now:
// it is that one, or among those that are gathered.
func (c *conversation) targets() ([]string, error) {
	var begun []string
	for _, name := range sorted(c.known) {
		switch {
		case c.known[name].Phase == Undone:
		case c.op.legs[name] == nil:
			return nil, problem.New(problem.Conflict, "control-point-unknown", "the request was sent to %s, which the control point %s does not have any more; find out there what came of it under the key %s", name, c.point.Name, key(c.step, name))
		default:
			begun = append(begun, name)
		}
	}
	if c.op.gather == nil && len(begun) > 0 {
		return begun[:1], nil
	}
	names, err := c.routed()
	for _, name := range begun {
		if !slices.Contains(names, name) {
			names = append(slices.Clone(names), name)
		}
	}
	return names, err
}

// routed goes through the routing table.
func (c *conversation) routed() ([]string, error) {
	if len(c.op.route) == 0 {
		return c.op.all, nil
	}
	vars, err := c.routing()
	if err != nil {
		return nil, err
	}
	for _, r := range c.op.route {
		if r.when == nil {
			return r.to, nil
		}
		holds, err := r.when.holds(vars)
		if err != nil {
			return nil, problem.New(problem.Unprocessable, "control-point-translation-failed", "the route of %s cannot be found: %w", c.op.name, err)
		}
		if holds {
			return r.to, nil
		}
	}
	return nil, problem.New(problem.Unprocessable, "control-point-no-route", "no route of %s is for these arguments", c.op.name)
}

// routing is what routes see: the arguments, the message, and the headers of the request that is routed, in small letters.
func (c *conversation) routing() (map[string]any, error) {
	vars := map[string]any{"args": c.args, "message": c.message, "target": "", "key": ""}
	given, headers := map[string]string{}, map[string]any{}
	if err := fill(given, c.op.headers, vars); err != nil {
		return nil, problem.New(problem.Unprocessable, "control-point-translation-failed", "the headers of %s cannot be made: %w", c.op.name, err)
	}
	for name, v := range given {
		headers[strings.ToLower(http.CanonicalHeaderKey(name))] = v
	}
	vars["headers"] = headers
	return vars, nil
}

// leg has one target do its part.
func (c *conversation) leg(ctx context.Context, name string) verdict {
	if l := c.op.legs[name]; c.op.effect {
		return c.effect(ctx, l)
	}
	return c.ask(ctx, c.op.legs[name])
}

func (c *conversation) gathers() bool { return c.op.gather != nil }

func (p *Point) now() time.Time {
	if p.options.Now != nil {
		return p.options.Now()
	}
	return time.Now()
}

// observe tells of one request.
func (p *Point) observe(l *leg, got *reply, err error, took time.Duration) {
	if p.options.Observe.Call == nil {
		return
	}
	outcome := "answered"
	switch {
	case err != nil:
		outcome = problem.From(err).Code
	case among(l.response.retry, got.status):
		outcome = "failed"
	case !among(l.response.success, got.status):
		outcome = "refused"
	}
	p.options.Observe.Call(p.Name, l.name, outcome, took)
}

// Breakers gives the state of the circuit breaker of each target, by name: closed, half-open or open.
func (p *Point) Breakers() map[string]string {
	states := map[string]string{}
	for name, t := range p.targets {
		states[name] = t.breaker.State().String()
	}
	return states
}

package controlpoint

import (
	"context"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/problem"
)

// Planned is a request that would be made, with its secret left out.
type Planned struct {
	Target  string `json:"target"`
	Key     string `json:"key,omitempty"` // of an effect
	Request Built  `json:"request"`
}

// Plan says what an action of the control point would ask of whom, and asks nothing. The action is the control point's own
// name, or that of its compensation.
func (p *Point) Plan(ctx context.Context, action string, task step.Task) ([]Planned, error) {
	o := p.call
	if p.compensation != nil && action == p.compensation.name {
		o = p.compensation
	}
	if action != o.name {
		return nil, problem.New(problem.NotFound, "action-unknown", "the control point %s has no action %s", p.Name, action)
	}
	c := &conversation{point: p, op: o, step: Step{task.Record.ID, task.Key()}, known: map[string]Entry{}}
	if err := c.open(ctx, task); err != nil {
		return nil, err
	}
	names, err := c.targets()
	if err != nil {
		return nil, err
	}
	var all []Planned
	for _, name := range names {
		one, err := c.planned(o.legs[name])
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (c *conversation) planned(l *leg) (one Planned, err error) {
	one.Target = l.name
	if c.op.effect {
		one.Key = key(c.step, l.name)
	}
	if one.Request, err = l.request.build(l.target, c.vars(l, one.Key)); err != nil {
		return one, err
	}
	if c.op.effect {
		one.Request.Headers[l.keyHeader] = one.Key
	}
	switch a := l.auth; {
	case a == nil:
	case a.Header != nil:
		one.Request.Headers[a.Header.Name] = redacted
	default:
		one.Request.Headers["Authorization"] = redacted
	}
	return one, nil
}

// Targets lists the targets by name, each with the URL that it is reached at.
func (p *Point) Targets() map[string]string {
	all := map[string]string{}
	for name, t := range p.targets {
		all[name] = t.base
	}
	return all
}

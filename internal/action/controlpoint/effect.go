package controlpoint

import (
	"context"
	"encoding/json"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// ask makes the request of one leg once, without an outside effect.
func (c *conversation) ask(ctx context.Context, l *leg) verdict {
	b, err := l.request.build(l.target, c.vars(l, ""))
	if err != nil {
		return verdict{err: err, undone: true}
	}
	got, v := c.exchange(ctx, l, b, "", func() error { return nil })
	if got == nil {
		return v
	}
	return c.checked(l.response.judge(l.target, got, c.vars(l, "")), l)
}

// exchange sends within the limits of the target and tells its breaker how that went. begin is called when there is a place,
// right before sending. Without a reply the verdict says why.
func (c *conversation) exchange(ctx context.Context, l *leg, b Built, key string, begin func() error) (*reply, verdict) {
	leave, err := l.enter(ctx)
	if err != nil {
		return nil, verdict{err: err, undone: true}
	}
	if err := begin(); err != nil {
		leave(false)
		return nil, verdict{err: err}
	}
	began := time.Now()
	got, left, err := l.send(ctx, b, key)
	failed := err != nil && ctx.Err() == nil // what was called off says nothing about the target
	if got != nil {
		failed = among(l.response.retry, got.status)
	}
	leave(failed)
	c.point.observe(l, got, err, time.Since(began))
	return got, verdict{err: err, undone: err != nil && !left}
}

// effect brings one leg's effect about at most once (I5): what is known of it decides whether it is sent, looked up, or left.
func (c *conversation) effect(ctx context.Context, l *leg) verdict {
	known := c.known[l.name]
	switch {
	case known.Phase == Done:
		return verdict{result: known.Result}
	case known.Phase == Sent && l.lookup != nil:
		return c.lookUp(ctx, l, known)
	case known.Phase == Sent && !l.idempotent:
		return verdict{err: problem.New(problem.Conflict, "control-point-unknown", "whether %s did what it was asked is unknown: the request left and no answer was kept, the target cannot be asked, and it does not promise that asking twice is asking once; find out there under the key %s before going on", l.name, key(c.step, l.name))}
	}
	return c.bring(ctx, l, known)
}

// bring sends the request, noted before and after.
func (c *conversation) bring(ctx context.Context, l *leg, known Entry) verdict {
	k := key(c.step, l.name)
	b, err := l.request.build(l.target, c.vars(l, k))
	if err != nil {
		return verdict{err: err, undone: true}
	}
	n, begun := known.Sends+1, false
	got, v := c.exchange(ctx, l, b, k, func() (err error) {
		err = c.begin(ctx, l, n)
		begun = err == nil
		return err
	})
	if got != nil {
		v = c.checked(l.response.judge(l.target, got, c.vars(l, k)), l)
	}
	if !begun {
		return v
	}
	return c.note(ctx, l, n, v)
}

// begin notes that the request is about to leave. Whoever else has begun it since was faster: the next attempt looks.
func (c *conversation) begin(ctx context.Context, l *leg, n int) error {
	if c.point.journal == nil {
		return nil
	}
	given, err := c.point.journal.Begin(ctx, c.step, l.name, n, c.point.now())
	if err == nil && !given {
		err = problem.New(problem.Unavailable, "control-point-begun", "the request to %s was begun elsewhere at the same time; what came of it is looked up next", l.name)
	}
	return err
}

// note keeps what is known for certain. What is not stays noted as sent.
func (c *conversation) note(ctx context.Context, l *leg, n int, v verdict) verdict {
	e := Entry{Target: l.name, Sends: n, At: c.point.now()}
	switch {
	case v.err == nil && v.pending == 0:
		e.Phase, e.Result = Done, v.result
	case v.undone:
		e.Phase = Undone
	default:
		return v
	}
	if c.point.journal == nil {
		return v
	}
	// What has come in is kept although it was called off meanwhile.
	if err := c.point.journal.End(context.WithoutCancel(ctx), c.step, e); err != nil {
		return verdict{err: err}
	}
	return v
}

// lookUp finds out what came of a request that was sent, and sends it again only when the target says that it never came.
func (c *conversation) lookUp(ctx context.Context, l *leg, known Entry) verdict {
	k := key(c.step, l.name)
	b, err := l.lookup.build(l.target, c.vars(l, k))
	if err != nil {
		return verdict{err: err}
	}
	got, v := c.exchange(ctx, l, b, "", func() error { return nil })
	if got == nil {
		v.undone = false // the look-up was not done; nothing is known of the request
		return v
	}
	if among(l.lookup.absent, got.status) {
		if rest := known.At.Add(l.lookup.settle).Sub(c.point.now()); rest > 0 {
			return verdict{pending: rest}
		}
		return c.bring(ctx, l, known)
	}
	if !among(l.response.success, got.status) {
		return verdict{err: problem.New(problem.Unavailable, "control-point-lookup-failed", "%s answered with status %d when it was asked what came of the request under the key %s", l.name, got.status, k)}
	}
	return c.note(ctx, l, known.Sends, c.checked(l.response.judge(l.target, got, c.vars(l, k)), l))
}

// checked holds a result against its schema, before anything relies on it.
func (c *conversation) checked(v verdict, l *leg) verdict {
	if v.err != nil || v.pending > 0 {
		return v
	}
	if len(v.result) > maxResult {
		return unreadable(l.target, problem.New(problem.Unprocessable, "control-point-answer-invalid", "the result has %d bytes; %d are allowed", len(v.result), maxResult))
	}
	if c.gathers() {
		return v // the schema is that of what is gathered
	}
	if err := c.fits(v.result); err != nil {
		return unreadable(l.target, err)
	}
	return v
}

func (c *conversation) fits(result json.RawMessage) error {
	v, err := parse(result)
	if err != nil {
		return err
	}
	return fits(c.op.result, v)
}

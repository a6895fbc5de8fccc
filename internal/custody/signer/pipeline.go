package signer

import (
	"context"
	"fmt"
)

// Pipeline has transactions signed by signing workers, which may be other processes. It answers with what they have stored; until
// then the answer is ErrUnanswered, and the same request again finds out.
//
// A refusal is told once. Asked after that the step has no request, and whoever asks anew begins anew, with another transaction.
type Pipeline struct {
	Decisions Decisions
	Requests  Requests
}

// Find gives the decisions of those steps that have one.
func (p *Pipeline) Find(ctx context.Context, steps []Step) (map[Step]Decision, error) {
	return p.Decisions.Find(ctx, steps)
}

// Asked tells of steps without a decision that have a request: ErrUnanswered, or why it was refused.
func (p *Pipeline) Asked(ctx context.Context, steps []Step) (map[Step]error, error) {
	found, err := p.Requests.Find(ctx, steps)
	if err != nil {
		return nil, fmt.Errorf("look up what was asked to be signed: %w", err)
	}
	asked := make(map[Step]error, len(found))
	var tell []Step
	for step, s := range found {
		switch {
		case s.Refused == nil:
			asked[step] = ErrUnanswered
		case !s.Told:
			asked[step], tell = s.Refused, append(tell, step)
		}
	}
	if len(tell) > 0 {
		err = p.Requests.Tell(ctx, tell)
	}
	return asked, err
}

// Withdraw refuses requests that are not decided, in the place of a worker: a decision and a refusal exclude each other.
func (p *Pipeline) Withdraw(ctx context.Context, steps []Step, because error) error {
	found, err := p.Requests.Find(ctx, steps)
	if err != nil {
		return fmt.Errorf("look up what was asked to be signed: %w", err)
	}
	var refusals []Refusal
	for step, s := range found {
		if s.Refused == nil {
			refusals = append(refusals, Refusal{Step: step, Number: s.Number, Because: because})
		}
	}
	return p.Requests.Refuse(ctx, refusals)
}

// Waits is false: the workers wait for keys.
func (p *Pipeline) Waits() bool { return false }

// SignAll commits requests for those steps that nothing is decided for, and answers with what is stored for the others.
func (p *Pipeline) SignAll(ctx context.Context, requests []Request) ([]Decision, []error) {
	j := newJob(requests)
	found, err := p.Decisions.Find(ctx, j.steps(j.open()))
	if err != nil {
		j.fail(j.open(), fmt.Errorf("look up what was decided: %w", err))
		return j.decisions, j.errs
	}
	var fresh []Request
	for i, r := range requests {
		d, decided := found[r.Step]
		if !decided {
			fresh = append(fresh, r)
		}
		if j.decisions[i] = d; len(d.Signed.Raw) == 0 {
			j.errs[i] = ErrUnanswered
		}
	}
	if err := p.Requests.Put(ctx, fresh); err != nil {
		for i, r := range requests {
			if _, decided := found[r.Step]; !decided {
				j.errs[i] = fmt.Errorf("ask to sign for %s at %s: %w", r.Step.Message, r.Step.State, err)
			}
		}
	}
	return j.decisions, j.errs
}

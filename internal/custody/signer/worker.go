package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// Worker carries out the committed requests to sign that records of transactions.unsigned announce, and announces what it has
// stored on transactions.signed. Any number of workers do so at once, in any number of processes.
//
// What a crash leaves, besides what is said of the Signer, and what then happens when the record comes again:
//
//	before the decision      nothing: the request is carried out
//	decided, not stored      it is signed with the decided nonce, by whoever has the record or by the lane's keeper
//	stored, not published    the stored bytes are published
//	published, not closed    they are published once more; whoever reads the topic knows them by their hash
//
// The record comes again because its offset was not committed; and if the topic itself is lost, because the request is still open
// (package relay).
type Worker struct {
	Signer    *Signer
	Decisions Decisions
	Requests  Requests
	Bus       bus.Bus
	Log       *slog.Logger
	Observe   func(outcome string, requests int) // may be nil; the outcomes are signed, refused and left
	Answered  func([]Step)                       // may be nil; told of requests that are signed or refused; must not block
}

// How a batch of records is divided.
const (
	leases  = 4   // at once
	largest = 512 // requests under one lease of a pool's key
)

// What becomes of requests, as Observe is told.
const (
	outcomeSigned  = "signed"
	outcomeRefused = "refused"
	outcomeLeft    = "left" // to be relayed again: a key or a node was not to be had, or it is decided and was not signed
)

// Group is the group of all signing workers.
const Group = "signing-worker"

// Handle carries out what the records announce; it is a bus.Handler. A record is done as well when its request is left open, to be
// relayed again: that is for what concerns one key, which the others shall not wait for. What cannot be read, and what nobody has
// asked for (A28), is of no use.
func (w *Worker) Handle(ctx context.Context, records []bus.Record) []error {
	errs := make([]error, len(records))
	var steps []Step
	at := make([]Step, len(records))
	for i, r := range records {
		var err error
		if at[i], err = ReadUnsigned(r); err != nil {
			errs[i] = bus.Unusable(err)
			continue
		}
		steps = append(steps, at[i])
	}
	asked, err := w.Requests.Find(ctx, steps)
	for i, step := range at {
		if _, known := asked[step]; err == nil && errs[i] == nil && !known {
			errs[i] = bus.Unusable(problem.New(ErrUnasked.Kind, ErrUnasked.Code, "nobody has asked to sign anything for %s at %s: the record was put on the topic by something else than Aval's relay", step.Message, step.State))
		}
	}
	var delayed map[Step]error
	if err == nil {
		delayed, err = w.carry(ctx, ordered(steps, asked))
	}
	for i, step := range at {
		if why := errors.Join(err, delayed[step]); errs[i] == nil && why != nil {
			errs[i] = problem.New(problem.Unavailable, "signing-delayed", "the request could not be carried out now: %w", why)
		}
	}
	return errs
}

// ordered gives the requests that are to be carried out, in the order of their records.
func ordered(steps []Step, asked map[Step]Standing) []Standing {
	var open []Standing
	for _, step := range steps {
		s, known := asked[step]
		if known && s.Refused == nil {
			open = append(open, s)
		}
		delete(asked, step) // once
	}
	return open
}

// carry carries out requests, announces what was signed and ends what was answered. Delayed are those for which the registry of keys
// could not be asked: it cannot be for any other either, so they are worth waiting for.
func (w *Worker) carry(ctx context.Context, open []Standing) (delayed map[Step]error, err error) {
	results := make([]result, len(open))
	var group errgroup.Group
	group.SetLimit(leases)
	for _, share := range shares(open) {
		group.Go(func() error {
			w.sign(ctx, open, share, results)
			return nil
		})
	}
	_ = group.Wait() // they give no error
	if err := w.publish(ctx, results); err != nil {
		return nil, err
	}
	delayed = map[Step]error{}
	for i, r := range results {
		if errors.As(r.err, new(away)) {
			delayed[open[i].Step] = r.err
		}
	}
	return delayed, w.refuse(ctx, open, results)
}

// result is what became of one request.
type result struct {
	decision Decision
	err      error
}

// shares divides requests by the leases that they need: a key's are one share, a pool's are several that are not too large.
func shares(open []Standing) (all [][]int) {
	requests := make([]Request, len(open))
	for i := range open {
		requests[i] = open[i].Request
	}
	for with, which := range byKey(requests) {
		if with.Key != "" {
			all = append(all, which)
			continue
		}
		all = slices.AppendSeq(all, slices.Chunk(which, largest))
	}
	return all
}

// sign signs a share. One that is refused meanwhile, by another worker that has the same record, hinders the others once.
func (w *Worker) sign(ctx context.Context, open []Standing, share []int, results []result) {
	share = w.inTime(ctx, open, share, results)
	for range 2 {
		requests := make([]Request, len(share))
		for n, i := range share {
			requests[n] = open[i].Request
		}
		decisions, errs := w.Signer.SignAll(ctx, requests)
		var again []int
		for n, i := range share {
			results[i] = result{decisions[n], errs[n]}
			if errors.Is(errs[n], ErrRefused) {
				again = append(again, i)
			}
		}
		if share = w.standing(ctx, open, again); len(share) == 0 {
			return
		}
	}
}

// standing gives those whose requests are not refused.
func (w *Worker) standing(ctx context.Context, open []Standing, which []int) (good []int) {
	steps := make([]Step, len(which))
	for n, i := range which {
		steps[n] = open[i].Step
	}
	if len(steps) == 0 {
		return nil
	}
	found, err := w.Requests.Find(ctx, steps)
	for _, i := range which {
		if s, is := found[open[i].Step]; err == nil && is && s.Refused == nil {
			good = append(good, i)
		}
	}
	return good
}

// inTime leaves out what came too late to be decided.
func (w *Worker) inTime(ctx context.Context, open []Standing, share []int, results []result) (good []int) {
	now := time.Now()
	var late []Step
	for _, i := range share {
		if until := open[i].Until; !until.IsZero() && until.Before(now) {
			late = append(late, open[i].Step)
		}
	}
	if len(late) == 0 {
		return share
	}
	decided, err := w.Decisions.Find(ctx, late)
	for _, i := range share {
		_, is := decided[open[i].Step]
		switch {
		case is || !slices.Contains(late, open[i].Step):
			good = append(good, i)
		case err != nil:
			results[i].err = err
		default:
			results[i].err = problem.New(problem.Gone, "message-expired", "the message was good until %s and nothing was signed for it by then; send a new one if it is still wanted", open[i].Until.UTC().Format(time.RFC3339))
		}
	}
	return good
}

// publish announces what is stored, and then ends its requests.
func (w *Worker) publish(ctx context.Context, results []result) error {
	var records []bus.Record
	var done []Step
	for _, r := range results {
		if r.err != nil || len(r.decision.Signed.Raw) == 0 {
			continue
		}
		record, err := SignedRecord(r.decision)
		if err != nil {
			return err
		}
		records, done = append(records, record), append(done, r.decision.Step)
	}
	if len(records) == 0 {
		return nil
	}
	if err := w.Signer.options.Faults.Hit("signer.publish.before"); err != nil {
		return err
	}
	if err := w.Bus.Publish(ctx, records); err != nil {
		return fmt.Errorf("announce %d signed transactions: %w", len(records), err)
	}
	w.observe(outcomeSigned, len(records))
	w.answered(done)
	return w.Requests.Close(ctx, done)
}

// refuse keeps why requests cannot be carried out, for their messages to act on. What may go well the next time is left open, and
// so is what is decided: its nonce is taken, and whatever hinders its signature has to be mended.
func (w *Worker) refuse(ctx context.Context, open []Standing, results []result) error {
	var refusals []Refusal
	var refused []Step
	left := 0
	for i, r := range results {
		if r.err == nil || errors.As(r.err, new(away)) {
			continue
		}
		if decided := r.decision.Step != (Step{}); !decided && final(r.err) {
			refusals, refused = append(refusals, Refusal{Step: open[i].Step, Number: open[i].Number, Because: r.err}), append(refused, open[i].Step)
			continue
		}
		if left++; left == 1 {
			w.Log.WarnContext(ctx, "not signed now; tried again", "message_id", open[i].Step.Message, "state", open[i].Step.State, "key", open[i].Key, "pool", open[i].Pool, "error", r.err)
		}
	}
	w.observe(outcomeLeft, left)
	w.observe(outcomeRefused, len(refusals))
	if err := w.Requests.Refuse(ctx, refusals); err != nil {
		return err
	}
	w.answered(refused)
	return nil
}

// final tells what the message has to be told from what a worker may try again: what was not to be had, what overtook it, and
// what leaves the outcome unknown.
func final(err error) bool {
	for _, passing := range []error{key.ErrStale, ErrRefused, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return false
		}
	}
	p := problem.From(err)
	return p.Kind != problem.Unavailable && (p.Kind != problem.Internal || p.Code == "signing-failed")
}

func (w *Worker) answered(steps []Step) {
	if w.Answered != nil && len(steps) > 0 {
		w.Answered(steps)
	}
}

func (w *Worker) observe(outcome string, n int) {
	if w.Observe != nil && n > 0 {
		w.Observe(outcome, n)
	}
}

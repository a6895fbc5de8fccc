package signer

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/bus"
)

// Group is the group of all signing workers.
const Group = "signing-worker"

// How a worker waits.
const (
	mostRecords = 1024            // at once
	drain       = 5 * time.Second // for what is under way when the worker is told to stop
	afterError  = 250 * time.Millisecond
)

// Run works until ctx ends; then it finishes the batch that it has begun. After an error it joins again, and is given again what
// it has not committed.
func (w *Worker) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.work(ctx); err != nil && ctx.Err() == nil {
			w.Log.ErrorContext(ctx, "the signing worker failed; tried again", "error", err)
			pause(ctx, afterError)
		}
	}
	return nil
}

// work is one membership.
func (w *Worker) work(ctx context.Context) error {
	member, err := w.Bus.Join(ctx, Group, bus.Unsigned)
	if err != nil {
		return err
	}
	defer func() { _ = member.Close() }() // a member that cannot say goodbye is found out by the others
	for {
		records, err := member.Poll(ctx, mostRecords)
		if err != nil {
			return err
		}
		if err := w.batch(ctx, member, records); err != nil {
			return err
		}
	}
}

// batch handles records, parks those that are of no use, and commits.
func (w *Worker) batch(ctx context.Context, member bus.Member, records []bus.Record) error {
	ctx, done := outlast(ctx, drain)
	defer done()
	spoiled, err := w.Handle(ctx, records)
	if err != nil {
		return err
	}
	for i, why := range spoiled {
		if why == nil {
			continue
		}
		if err := w.Park(ctx, records[i], why); err != nil {
			return err
		}
	}
	return member.Commit(ctx, records)
}

// outlast gives a context that ends that long after ctx.
func outlast(ctx context.Context, by time.Duration) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(by, cancel)
	})
	return longer, func() { stop(); cancel() }
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

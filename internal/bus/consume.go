package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/problem"
)

// Handler does what the records of a batch say, and answers one error for each: nil when it is done. It may be given a record
// again, whatever it answered (I17). What it cannot use now and can later is an Unavailable or TooMany problem, or an error that
// wraps one: the record is handed in again. Unusable says that it never can. Records of one key that follow a failed one
// are in the same batch, if they were read with it: a handler to whom their order matters fails them too.
type Handler func(ctx context.Context, records []Record) []error

// unusable marks an error that no repetition helps against.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// Unusable says that the record is to be parked at once, because of err.
func Unusable(err error) error { return unusable{err} }

// Consumer reads topics for a group and has the records handled: each is handled or parked before its offset is committed.
// An error of the infrastructure is waited out, however long it takes; a record that fails by itself is tried three times and then
// parked. A handler that panics fails, and is then given its records one by one, so that only the one at which it panics
// is parked.
type Consumer struct {
	Bus     Bus
	Parked  Parked
	Group   string
	Topics  []string
	Batch   int // most records at once; 0 means 512
	Handle  Handler
	Level   func(full bool)           // told after each batch whether there was as much as asked for, so that more may wait; may be nil
	Observe func(Consumed)            // for metrics; may be nil
	Log     *slog.Logger              // nil logs nothing
	Drain   time.Duration             // how long a batch in hand may take when the process stops; 0 means 5 s
	Pause   func(n int) time.Duration // before the nth repetition; nil: from 100 ms, doubled, to 5 s
}

// Consumed is what became of a batch.
type Consumed struct {
	Group   string
	Records int
	Parked  int // of them, those that were not parked before
}

// tries is how often a record may fail by itself.
const tries = 3

func (c Consumer) withDefaults() Consumer {
	if c.Batch <= 0 {
		c.Batch = 512
	}
	if c.Drain <= 0 {
		c.Drain = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Pause == nil {
		c.Pause = func(n int) time.Duration { return min(100*time.Millisecond<<min(n, 10), 5*time.Second) }
	}
	return c
}

// Run consumes until ctx ends; the batch in hand is finished then, if it can be within Drain. What is not committed is given
// again, to whoever reads next. It never ends with an error: what fails is logged and tried again.
func (c Consumer) Run(ctx context.Context) error {
	c = c.withDefaults()
	for n := 0; ctx.Err() == nil; n++ {
		m, err := c.Bus.Join(ctx, c.Group, c.Topics...)
		if err == nil {
			var done int
			done, err = c.read(ctx, m)
			if done > 0 {
				n = 0
			}
			err = errors.Join(err, m.Close())
		}
		if err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "records cannot be read; tried again", "group", c.Group, "topics", c.Topics, "error", err)
			_ = lifecycle.Sleep(ctx, c.Pause(n))
		}
	}
	return nil
}

// read handles batches until reading or committing fails, and says how many it has handled.
func (c Consumer) read(ctx context.Context, m Member) (done int, err error) {
	for {
		records, err := m.Poll(ctx, c.Batch)
		if err != nil {
			return done, err
		}
		if len(records) == 0 {
			continue
		}
		if err := c.settle(ctx, m, records); err != nil {
			return done, err
		}
		done++
		if c.Level != nil {
			c.Level(len(records) >= c.Batch)
		}
	}
}

// settle has a batch handled or parked, and commits it. When the process stops meanwhile it has Drain left.
func (c Consumer) settle(ctx context.Context, m Member, records []Record) error {
	draining, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(c.Drain, stop) })()
	left := make([]attempt, len(records))
	for i, r := range records {
		left[i].Record = r
	}
	for n := 0; ; n++ {
		left = c.once(draining, left)
		if len(left) == 0 {
			return m.Commit(draining, records)
		}
		if err := lifecycle.Sleep(ctx, c.Pause(n)); err != nil {
			return err
		}
	}
}

// attempt is a record that was not settled yet.
type attempt struct {
	Record
	failed int // times, by itself
}

// once hands the records in, parks what cannot be used, and gives what is to be tried again.
func (c Consumer) once(ctx context.Context, batch []attempt) (again []attempt) {
	errs := c.safely(ctx, batch)
	var park []ParkedRecord
	var parking []attempt
	var first error // of those that are waited out, which are often all
	waited := 0
	for i, err := range errs {
		a := batch[i]
		switch {
		case err == nil:
			continue
		case passing(err):
			first, waited, again = cmp.Or(first, err), waited+1, append(again, a)
			continue
		default:
			if a.failed++; a.failed >= tries || errors.As(err, new(unusable)) {
				p := problem.From(err)
				park, parking = append(park, ParkedRecord{Record: a.Record, Group: c.Group, Code: p.Code, Why: err.Error()}), append(parking, a)
				continue
			}
		}
		c.Log.WarnContext(ctx, "a record could not be handled; tried again", "group", c.Group, "topic", a.Topic, "partition", a.Partition, "offset", a.Offset, "error", err)
		again = append(again, a)
	}
	if waited > 0 {
		c.Log.WarnContext(ctx, "records could not be handled; tried again", "group", c.Group, "topic", batch[0].Topic, "records", waited, "error", first)
	}
	if err := c.park(ctx, park, len(batch)-len(again)); err != nil {
		c.Log.WarnContext(ctx, "records could not be parked; tried again", "group", c.Group, "records", len(park), "error", err)
		again = append(again, parking...)
	}
	return again
}

// passing says whether an error is one of the infrastructure, or of the moment: not the record's fault.
func passing(err error) bool {
	kind := problem.KindOf(err)
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !errors.As(err, new(unusable)) && (kind == problem.Unavailable || kind == problem.TooMany)
}

// park keeps the records with their reasons, and tells of the batch.
func (c Consumer) park(ctx context.Context, records []ParkedRecord, settled int) error {
	fresh := 0
	if len(records) > 0 {
		var err error
		if fresh, err = c.Parked.Park(ctx, records); err != nil {
			return err
		}
	}
	for _, r := range records {
		c.Log.ErrorContext(ctx, "record parked", "group", c.Group, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "code", r.Code, "why", r.Why)
	}
	if c.Observe != nil && settled > 0 {
		c.Observe(Consumed{Group: c.Group, Records: settled, Parked: fresh})
	}
	return nil
}

// safely hands records in. Where the handler panics at several they are handed in one by one.
func (c Consumer) safely(ctx context.Context, batch []attempt) []error {
	records := make([]Record, len(batch))
	for i, a := range batch {
		records[i] = a.Record
	}
	errs, err := c.guarded(ctx, records)
	if err == nil {
		return errs
	}
	errs = make([]error, len(records))
	for i := range records {
		one, failed := c.guarded(ctx, records[i:i+1])
		if errs[i] = failed; failed == nil {
			errs[i] = one[0]
		}
	}
	return errs
}

// guarded calls the handler. What it makes of a panic, or of an answer that does not fit, is an error for all.
func (c Consumer) guarded(ctx context.Context, records []Record) (errs []error, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = problem.New(problem.Internal, "handler-panicked", "handling %d records of %s failed unexpectedly: %v", len(records), records[0].Topic, r)
		}
	}()
	if errs = c.Handle(ctx, records); len(errs) != len(records) {
		return nil, problem.New(problem.Internal, "handler-panicked", "handling %d records of %s was answered with %d errors", len(records), records[0].Topic, len(errs))
	}
	return errs, nil
}

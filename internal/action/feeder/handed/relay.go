package handed

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
)

// Relay hands out what is due. One process at a time needs to; two at once do no harm.
type Relay struct {
	Table   feeder.Table
	Bus     bus.Bus
	Seat    *leader.Seat
	Log     *slog.Logger                          // may be nil
	Again   time.Duration                         // after which an id that nobody has taken is handed out again; 0 means defaultAgain
	Observe func(records int, took time.Duration) // called after each batch; may be nil

	out []batch // oldest first
	ids int     // in out
}

// batch is what was handed out together.
type batch struct {
	ids []message.ID
	at  time.Time
}

const (
	most         = 20_000 // ids handed out and perhaps not taken: beyond it the controllers are behind, and more would not help
	handBatch    = 2048
	idle         = time.Second // longest wait for what is due, between looks at what was not taken
	behind       = 50 * time.Millisecond
	defaultAgain = 20 * time.Second
)

// Run hands out until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	if r.Again == 0 {
		r.Again = defaultAgain
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	for ctx.Err() == nil {
		term, done, leads := r.Seat.Within(ctx)
		wait := leader.Look
		if leads {
			wait = r.round(term)
		} else {
			r.drop(ctx)
		}
		done()
		_ = lifecycle.Sleep(ctx, wait)
	}
	return nil
}

// drop frees what this process has handed out, once another one leads: the ids that it hands out it looks after itself.
func (r *Relay) drop(ctx context.Context) {
	for len(r.out) > 0 && r.Table.Free(ctx, r.out[0].ids) == nil {
		r.ids -= len(r.out[0].ids)
		r.out = r.out[1:]
	}
}

// round hands out one batch, and says how long to wait before the next.
func (r *Relay) round(ctx context.Context) (wait time.Duration) {
	full, err := r.review(ctx)
	if err == nil && full {
		return behind
	}
	if err == nil {
		err = r.hand(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return 0
	}
	r.Log.ErrorContext(ctx, "cannot hand out what is due; tried again", "error", err)
	return leader.Look
}

// hand marks what is due as handed out and publishes it. What could not be published, or perhaps was, is freed.
func (r *Relay) hand(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, idle)
	ids, err := r.Table.Hand(waiting, handBatch)
	cancel()
	if err != nil || len(ids) == 0 {
		return unlessIdle(err)
	}
	begun := time.Now()
	records := make([]bus.Record, len(ids))
	for i, id := range ids {
		if records[i], err = Record(id); err != nil {
			return err
		}
	}
	if err := r.Bus.Publish(ctx, records); err != nil {
		if freed := r.Table.Free(context.WithoutCancel(ctx), ids); freed != nil {
			r.out, r.ids = append(r.out, batch{ids: ids}), r.ids+len(ids) // the next review frees them
		}
		return err
	}
	r.out, r.ids = append(r.out, batch{ids: ids, at: begun}), r.ids+len(ids)
	if r.Observe != nil {
		r.Observe(len(ids), time.Since(begun))
	}
	return nil
}

// unlessIdle leaves out the end of a wait in which nothing was due.
func unlessIdle(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Record is what says on the topic that a message is due.
func Record(id message.ID) (bus.Record, error) {
	value, err := json.Marshal(map[string]message.ID{"id": id})
	return bus.Record{Topic: bus.Due, Key: string(id), Value: value}, err
}

// review frees what was handed out long ago and not taken, and says whether so much is under way that more has to wait.
func (r *Relay) review(ctx context.Context) (full bool, err error) {
	for len(r.out) > 0 && time.Since(r.out[0].at) > r.Again {
		if err := r.Table.Free(ctx, r.out[0].ids); err != nil {
			return true, err
		}
		r.ids -= len(r.out[0].ids)
		r.out = r.out[1:]
	}
	if r.ids < most {
		return false, nil
	}
	return r.recount(ctx)
}

// recount forgets what has been taken.
func (r *Relay) recount(ctx context.Context) (full bool, err error) {
	all := make([]message.ID, 0, r.ids)
	for _, b := range r.out {
		all = append(all, b.ids...)
	}
	open, err := r.Table.Untaken(ctx, all)
	if err != nil {
		return true, err
	}
	still := make(map[message.ID]bool, len(open))
	for _, id := range open {
		still[id] = true
	}
	var left []batch
	r.ids = 0
	for _, b := range r.out {
		kept := b.ids[:0:0]
		for _, id := range b.ids {
			if still[id] {
				kept = append(kept, id)
			}
		}
		if len(kept) > 0 {
			left, r.ids = append(left, batch{kept, b.at}), r.ids+len(kept)
		}
	}
	r.out = left
	return r.ids > most/2, nil
}

// Package relay takes rows that were committed to the database to the bus: what is to be signed, what has happened.
//
//	table ── Source: rows after a cursor, in the order of commits ──▶ batch ──▶ Bus, durable ──▶ cursor, stored
//
// The cursor is stored after the batch was published, so a row comes at least once and none is skipped (I16); what a crash leaves
// between the two is published again. One process at a time relays, the one that has the seat; for the moment in which two believe
// that they have it, rows come twice. The relay changes nothing else: what is on a topic can always be made again from the tables.
package relay

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/lifecycle"
)

// Batch is rows on their way.
type Batch struct {
	Records []bus.Record
	Seq     int64     // the cursor after them
	Oldest  time.Time // when the first of them was committed
}

// Source gives a table's rows as records of a topic.
type Source interface {
	// Name is the cursor's, for good.
	Name() string
	// Read gives up to limit rows after seq, in the order of commits, and none skipped. It waits for one, and may answer with
	// none before there is.
	Read(ctx context.Context, after int64, limit int) (Batch, error)
}

// Cursors is the port to how far sources have been relayed.
//
// Durability: what returned nil is on stable storage. Ordering and consistency: a cursor never goes back but by Forget. Its
// conformance suite is relaytest.
type Cursors interface {
	// Cursor gives a source's cursor, 0 for one that is not known; it is known from then on, and what it has not reached is kept.
	Cursor(ctx context.Context, source string) (int64, error)
	// Advance moves a cursor.
	Advance(ctx context.Context, source string, seq int64) error
	// Forget has a source begin again with the oldest row that there is, or keeps nothing for it any more.
	Forget(ctx context.Context, source string) error
}

// Relay is the service.
type Relay struct {
	Sources []Source
	Cursors Cursors
	Bus     bus.Bus
	Seat    *leader.Seat
	Log     *slog.Logger                                           // may be nil
	Batch   int                                                    // most rows at once; 0 means defaultBatch
	Observe func(source string, records int, oldest time.Duration) // called after each batch; may be nil
}

// How a relay waits.
const (
	defaultBatch = 2048
	firstRetry   = 50 * time.Millisecond
	longestRetry = 5 * time.Second
)

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	if r.Batch == 0 {
		r.Batch = defaultBatch
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	var all sync.WaitGroup
	for _, source := range r.Sources {
		all.Go(func() { r.serve(ctx, source) })
	}
	all.Wait()
	return nil
}

// serve relays one source whenever this process has the seat. A failure is tried again, for as long as it takes.
func (r *Relay) serve(ctx context.Context, source Source) {
	retry := firstRetry
	for ctx.Err() == nil {
		term, done, leads := r.Seat.Within(ctx)
		if !leads {
			done()
			_ = lifecycle.Sleep(ctx, leader.Look)
			continue
		}
		moved, err := r.follow(term, source)
		deposed := term.Err() != nil
		done()
		if moved {
			retry = firstRetry
		}
		if err != nil && !deposed {
			r.Log.ErrorContext(ctx, "cannot relay; tried again", "source", source.Name(), "error", err, "again_in", retry)
			_ = lifecycle.Sleep(ctx, retry)
			retry = min(2*retry, longestRetry)
		}
	}
}

// follow relays until something fails or the term ends.
func (r *Relay) follow(ctx context.Context, source Source) (moved bool, err error) {
	after, err := r.Cursors.Cursor(ctx, source.Name())
	if err != nil {
		return false, fmt.Errorf("read the cursor of %s: %w", source.Name(), err)
	}
	for {
		batch, err := source.Read(ctx, after, r.Batch)
		if err != nil {
			return moved, fmt.Errorf("read the rows of %s after %d: %w", source.Name(), after, err)
		}
		if err := r.pass(ctx, source, after, batch); err != nil {
			return moved, err
		}
		after, moved = max(after, batch.Seq), true
	}
}

// pass publishes a batch and then notes that it did.
func (r *Relay) pass(ctx context.Context, source Source, after int64, batch Batch) error {
	if len(batch.Records) > 0 {
		if err := r.Bus.Publish(ctx, batch.Records); err != nil {
			return fmt.Errorf("publish %d records of %s: %w", len(batch.Records), source.Name(), err)
		}
	}
	if batch.Seq > after {
		if err := r.Cursors.Advance(ctx, source.Name(), batch.Seq); err != nil {
			return fmt.Errorf("store the cursor of %s: %w", source.Name(), err)
		}
	}
	if r.Observe != nil {
		age := time.Duration(0)
		if len(batch.Records) > 0 {
			age = time.Since(batch.Oldest)
		}
		r.Observe(source.Name(), len(batch.Records), age)
	}
	return nil
}

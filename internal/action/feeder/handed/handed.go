// Package handed is a feeder whose ids travel over a bus, from one process that looks for what is due to all that work on it.
//
//	table due ── Relay: hands ids out ──▶ topic due ──▶ Feeder, in each controller: takes them ──▶ in hand ──▶ settled
//
// The table stays the truth. A row is free, handed out (its id is on the topic) or taken. Handing out and taking are one
// statement each for a whole batch; many controllers no longer compete for the same rows, and none of them looks for what is due.
// A record on the topic is only a hint: who reads it takes the row, if it is due and nobody has it, so a record that comes twice, late
// or from somebody else changes nothing (I17). What is in hand does not travel again.
//
// A record that is lost leaves its row handed out. The relay looks after a while which of its ids nobody has taken, and frees
// them; so the topic may be deleted and made again at any time. When the relay's process ends, all that it had handed out is free.
package handed

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/message"
)

// Group is the name of the controllers' group.
const Group = "controllers"

// Feeder serves feeder.Feeder from the topic and the table.
type Feeder struct {
	Table  feeder.Table
	Bus    bus.Bus
	Parked bus.Parked
	Log    *slog.Logger // may be nil

	turn    sync.Mutex // one claim at a time reads
	member  bus.Member
	records []bus.Record         // read, and not done with
	batch   []bus.Record         // all that was read together with them
	done    map[int32]bus.Record // of each partition the last one that is done, and not committed yet
	stored  time.Time            // when offsets were committed last
}

const (
	readAhead   = 512                    // most records read at once
	commitEvery = 500 * time.Millisecond // offsets only spare work, so they need not be exact
)

// Claim waits until a record leads to a row that is due and free.
func (f *Feeder) Claim(ctx context.Context, limit int) ([]message.ID, error) {
	f.turn.Lock()
	defer f.turn.Unlock()
	for {
		if err := f.read(ctx); err != nil {
			return nil, err
		}
		ids, err := f.take(ctx, limit)
		if err != nil || len(ids) > 0 {
			return ids, err
		}
	}
}

// read waits for records when there are none left.
func (f *Feeder) read(ctx context.Context) error {
	f.commit(ctx)
	if len(f.records) > 0 {
		return ctx.Err()
	}
	if f.member == nil {
		m, err := f.Bus.Join(ctx, Group, bus.Due)
		if err != nil {
			return err
		}
		f.member, f.done = m, map[int32]bus.Record{}
	}
	var err error
	f.records, err = f.member.Poll(ctx, readAhead)
	f.batch = f.records
	return err
}

// take offers the table what was read. What it does not take is not due, or in somebody's hand, or will be handed out again.
func (f *Feeder) take(ctx context.Context, limit int) ([]message.ID, error) {
	ids := make([]message.ID, 0, len(f.records))
	var strange []bus.ParkedRecord
	for _, r := range f.records {
		id, err := message.ParseID(r.Key)
		if err != nil {
			strange = append(strange, bus.ParkedRecord{Record: r, Group: Group, Code: "record-unreadable", Why: "the key is no message id"})
			continue
		}
		ids = append(ids, id)
	}
	if len(strange) > 0 {
		if _, err := f.Parked.Park(ctx, strange); err != nil {
			return nil, err
		}
	}
	taken, rest, err := f.Table.Take(ctx, ids, limit)
	if err != nil {
		return nil, err // and offered again
	}
	f.keep(rest)
	return taken, nil
}

// keep goes on with the records whose rows could have been taken too. When there are none all that was read is done.
func (f *Feeder) keep(rest []message.ID) {
	left := make(map[string]bool, len(rest))
	for _, id := range rest {
		left[string(id)] = true
	}
	var kept []bus.Record
	for _, r := range f.records {
		if left[r.Key] {
			kept = append(kept, r)
			delete(left, r.Key)
		}
	}
	f.records = kept
	if len(kept) > 0 {
		return
	}
	for _, r := range f.batch {
		f.done[r.Partition] = r
	}
	f.batch = nil
}

// commit stores the group's offsets now and then. Taken rows are in the table as this process's, so nothing depends on it.
func (f *Feeder) commit(ctx context.Context) {
	if len(f.done) == 0 || time.Since(f.stored) < commitEvery {
		return
	}
	if err := f.member.Commit(ctx, slices.Collect(maps.Values(f.done))); err != nil {
		if f.Log != nil && ctx.Err() == nil {
			f.Log.WarnContext(ctx, "the offsets of due ids could not be stored; they will come again", "error", err)
		}
		return
	}
	clear(f.done)
	f.stored = time.Now()
}

// Settle ends claims: what is due again is found by the relay.
func (f *Feeder) Settle(ctx context.Context, ids []message.ID) error { return f.Table.Settle(ctx, ids) }

// Depth counts what is due.
func (f *Feeder) Depth(ctx context.Context) (feeder.Depth, error) { return f.Table.Depth(ctx) }

// Close leaves the group. It waits for no claim: those end with their contexts.
func (f *Feeder) Close() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.member == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	f.stored = time.Time{}
	f.commit(ctx)
	return f.member.Close()
}

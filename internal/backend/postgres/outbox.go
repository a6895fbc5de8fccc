package postgres

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/event"
)

// Outbox serves event.Outbox from the events that Guarantee's statements write.
//
// A number drawn from a sequence is not in the order of commits, so a reader that goes by it skips what commits late. Here
// seq begins with the number of the transaction, and only what lies below the oldest transaction that still runs is read
// (I16). A message's events keep their order: the transition that follows another one was decided after that was committed,
// so its transaction has the higher number. A transaction that stays open for long, of whatever program in the same server,
// holds up all events, and loses none.
type Outbox struct{ db *DB }

// NewOutbox uses the system of record.
func NewOutbox(db *DB) *Outbox { return &Outbox{db} }

// tail is how often a reader that has seen everything looks for what other processes have committed.
const tail = 20 * time.Millisecond

const (
	settledBelow = "(pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20)"
	readSQL      = `SELECT e.id, e.version, e.state, e.status, e.reason, e.archived, o.accepted, e.updated, o.attributes, e.seq
		FROM (SELECT * FROM outbox WHERE seq > $1 AND seq < ` + settledBelow + ` ORDER BY seq LIMIT $2) e,
			LATERAL (SELECT accepted, attributes FROM originals WHERE id = e.id LIMIT 1) o ORDER BY e.seq`
	boundsSQL = "SELECT t.seq + 1, greatest(t.seq, (SELECT max(seq) FROM outbox WHERE seq < " + settledBelow + ")) FROM outbox_trimmed t"
	trimSQL   = `WITH upto AS (SELECT least($1::bigint, (SELECT c.seq FROM relay_cursors c WHERE c.source = $2)) AS seq),
		gone AS (DELETE FROM outbox USING upto WHERE outbox.seq <= upto.seq)
		UPDATE outbox_trimmed t SET seq = greatest(t.seq, least(upto.seq, (SELECT coalesce(max(seq), t.seq) FROM outbox))) FROM upto`
)

// Read gives the events after seq; it waits for a commit when there are none.
func (o *Outbox) Read(ctx context.Context, after int64, limit int) ([]event.Event, error) {
	for {
		changed := o.db.commits() // taken before reading, so that no commit of this process falls between
		list, err := rows(ctx, o.db, o.db.lazy, snapshot, readSQL, after, limit)
		if err != nil || len(list) > 0 {
			return events(list), err
		}
		if err := await(ctx, changed, tail); err != nil {
			return nil, err
		}
	}
}

func events(list []numbered) []event.Event {
	read := make([]event.Event, len(list))
	for i := range list {
		read[i] = event.Event{Seq: list[i].place, Snapshot: list[i].Snapshot}
	}
	return read
}

// Trim forgets the events at or below seq, as far as they have been relayed where they are to be.
func (o *Outbox) Trim(ctx context.Context, seq int64) error {
	return o.db.update(ctx, "outbox.trim", func() error {
		_, err := o.db.lazy.Exec(ctx, trimSQL, seq, bus.Events)
		return err
	})
}

// Bounds tells where what is held begins and ends.
func (o *Outbox) Bounds(ctx context.Context) (first, last int64, err error) {
	err = o.db.lazy.QueryRow(ctx, boundsSQL).Scan(&first, &last)
	return first, last, o.db.describe(err)
}

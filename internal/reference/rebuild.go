package reference

import (
	"context"
	"fmt"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// pageSize is the number of messages that verify and rebuild hold at once: memory does not grow with what is stored.
const pageSize = 500

// Progress tells how far a Rebuild or a Verify has come.
type Progress struct {
	Phase string // "read": Guarantee's messages; "sweep": Reference's rows; "count": the numbers of Counts
	Done  int64  // messages or rows looked at in this phase
}

// rebuilder makes Reference equal to Guarantee. It may run beside a Follower: see mend.
type rebuilder struct {
	source   Source
	store    Store
	repairs  Repairs
	progress func(Progress) // may be nil
}

// run brings every message of Guarantee in, then takes out or sets right what Guarantee does not say.
func (b *rebuilder) run(ctx context.Context) error {
	err := scan(ctx, b.source, func(page []guarantee.Snapshot, done int64) error {
		b.report("read", done)
		return b.store.Apply(ctx, page, Stay)
	})
	if err != nil {
		return fmt.Errorf("rebuild Reference from Guarantee: %w", err)
	}
	err = walk(ctx, b.repairs, func(rows []Row, done int64) error {
		b.report("sweep", done)
		return b.sweep(ctx, rows)
	})
	if err != nil {
		return fmt.Errorf("compare Reference with Guarantee: %w", err)
	}
	b.report("count", 0)
	_, err = b.repairs.Recount(ctx, true)
	return err
}

// sweep mends the rows that Guarantee contradicts. The rows were read first: one that is older than its message has only
// been overtaken since, and the events that overtook it are still to come.
func (b *rebuilder) sweep(ctx context.Context, rows []Row) error {
	truth, err := lookup(ctx, b.source, idsOf(rows))
	if err != nil {
		return err
	}
	var wrong []message.ID
	for _, row := range rows {
		snap, there := truth[row.ID]
		if !there || row.Version > snap.Version || !sameMessage(row, snap) || row.Version == snap.Version && !same(row, snap) {
			wrong = append(wrong, row.ID)
		}
	}
	return mend(ctx, b.source, b.store, b.repairs, wrong)
}

func (b *rebuilder) report(phase string, done int64) {
	if b.progress != nil {
		b.progress(Progress{Phase: phase, Done: done})
	}
}

// mend makes the rows of ids what Guarantee says, also where Reference claims a higher version.
//
// A Follower may apply newer versions at the same time, and Replace would overwrite them. Therefore Guarantee is read again
// afterwards and applied with the version guard: a commit before that reading is in it, and the event of a later one is
// applied by the Follower after it, so that the newest version stays in either case.
func mend(ctx context.Context, source Source, store Store, repairs Repairs, ids []message.ID) error {
	if len(ids) == 0 {
		return nil
	}
	truth, err := lookup(ctx, source, ids)
	if err != nil {
		return err
	}
	var set []Row
	var remove []message.ID
	for _, id := range ids {
		if snap, there := truth[id]; there {
			set = append(set, snap)
		} else {
			remove = append(remove, id)
		}
	}
	if err := repairs.Replace(ctx, set, remove); err != nil {
		return err
	}
	again, err := source.Snapshots(ctx, ids)
	if err != nil {
		return err
	}
	return store.Apply(ctx, again, Stay)
}

// scan reads all of Guarantee, page by page; done counts the messages up to and with the page.
func scan(ctx context.Context, source Source, each func(page []guarantee.Snapshot, done int64) error) error {
	done, from := int64(0), ""
	for {
		page, next, err := source.Scan(ctx, from, pageSize)
		if err != nil {
			return err
		}
		done += int64(len(page))
		if len(page) > 0 {
			if err := each(page, done); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		from = next
	}
}

// walk reads all of Reference, page by page.
func walk(ctx context.Context, repairs Repairs, each func(rows []Row, done int64) error) error {
	done, after := int64(0), ""
	for {
		rows, err := repairs.Walk(ctx, after, pageSize)
		if err != nil || len(rows) == 0 {
			return err
		}
		done += int64(len(rows))
		if err := each(rows, done); err != nil || len(rows) < pageSize {
			return err
		}
		after = string(rows[len(rows)-1].ID)
	}
}

func lookup(ctx context.Context, source Source, ids []message.ID) (map[message.ID]guarantee.Snapshot, error) {
	snaps, err := source.Snapshots(ctx, ids)
	return byID(snaps), err
}

func byID(rows []Row) map[message.ID]Row {
	m := make(map[message.ID]Row, len(rows))
	for _, row := range rows {
		m[row.ID] = row
	}
	return m
}

func idsOf(rows []Row) []message.ID {
	ids := make([]message.ID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	return ids
}

// same compares everything; databases keep times to the microsecond.
func same(a, b Row) bool {
	return a.ID == b.ID && a.Version == b.Version && a.State == b.State && a.Status == b.Status && a.Reason == b.Reason &&
		a.Archived == b.Archived && a.Updated.UnixMicro() == b.Updated.UnixMicro() && sameMessage(a, b)
}

// sameMessage compares what never changes in a message.
func sameMessage(a, b Row) bool {
	return a.Attributes == b.Attributes && a.Accepted.UnixMicro() == b.Accepted.UnixMicro()
}

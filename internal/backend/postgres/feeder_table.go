package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/message"
)

// A row that instance i has handed out has the claimer -i, so that it is free when i has ended, like what i has taken. Handing out
// and taking wait for no disk either: a crash of the server ends all instances.

// Hand waits until an id is due.
func (f *Feeder) Hand(ctx context.Context, limit int) ([]message.ID, error) {
	return f.await(ctx, func(ctx context.Context) ([]message.ID, error) {
		if f.lost.Load() {
			if _, err := f.db.lazy.Exec(ctx, "UPDATE due SET claimer = 0 WHERE claimer = -$1::integer", f.db.instance.id); err != nil {
				return nil, f.db.describe(err)
			}
		}
		ids, err := rows(ctx, f.db, f.db.lazy, pgx.RowTo[message.ID], claimSQL, f.db.instance.id, micros(f.now()), limit, -f.db.instance.id)
		f.lost.Store(err != nil) // perhaps they are handed out, and nobody knows which
		return ids, err
	})
}

// Untaken gives what is handed out still.
func (f *Feeder) Untaken(ctx context.Context, ids []message.ID) ([]message.ID, error) {
	return rows(ctx, f.db, f.db.lazy, pgx.RowTo[message.ID], "SELECT id FROM due WHERE id = ANY ($1::text[]) AND claimer = -$2::integer", texts(ids), f.db.instance.id)
}

// Free takes handing out back.
func (f *Feeder) Free(ctx context.Context, ids []message.ID) error {
	list := texts(ids)
	slices.Sort(list) // the order in which commits lock them, too
	err := undeadlocked(func() error {
		_, err := f.db.lazy.Exec(ctx, "UPDATE due SET claimer = 0 WHERE id = ANY ($1::text[]) AND claimer = -$2::integer", list, f.db.instance.id)
		return err
	})
	f.signal()
	return f.db.describe(err)
}

// takeSQL takes the earliest of the ids that are due and in nobody's hand, and frees what is handed out and not due. Rows that
// another process is taking at this moment it passes by. It gives one row at least, unless this instance was struck off.
const takeSQL = `WITH me AS (
	SELECT id FROM instances WHERE id = $1 FOR KEY SHARE
), open AS MATERIALIZED (
	SELECT d.id, d.at FROM me, LATERAL (SELECT id, at FROM due WHERE id = ANY ($3::text[]) AND claimer <= 0 FOR NO KEY UPDATE SKIP LOCKED) d
), mine AS MATERIALIZED (
	SELECT id, at FROM open WHERE at <= $2 ORDER BY at LIMIT $4
), taken AS (
	UPDATE due SET claimer = $1 WHERE id = ANY (ARRAY(SELECT id FROM mine))
), early AS (
	UPDATE due SET claimer = 0 WHERE id = ANY (ARRAY(SELECT id FROM open WHERE at > $2))
)
SELECT coalesce(open.id, ''), mine.id IS NOT NULL FROM me LEFT JOIN open ON open.at <= $2 LEFT JOIN mine ON mine.id = open.id ORDER BY open.at`

// offered is a row that could be taken.
type offered struct {
	ID    message.ID // "": there is none
	Taken bool
}

// Take takes rows whose ids came over the bus.
func (f *Feeder) Take(ctx context.Context, ids []message.ID, limit int) (taken, rest []message.ID, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.clear(ctx); err != nil {
		return nil, nil, err
	}
	list := slices.Compact(slices.Sorted(slices.Values(ids)))
	offers, err := whole(ctx, func(ctx context.Context) ([]offered, error) {
		return rows(ctx, f.db, f.db.lazy, pgx.RowToStructByPos[offered], takeSQL, f.db.instance.id, micros(f.now()), texts(list), limit)
	})
	f.doubt = err != nil
	if err == nil && len(offers) == 0 {
		return nil, nil, f.db.away()
	}
	for _, o := range offers {
		switch {
		case o.Taken:
			taken, f.taken[o.ID] = append(taken, o.ID), true
		case o.ID != "":
			rest = append(rest, o.ID)
		}
	}
	return taken, rest, err
}

// FreeAll frees what is handed out by anybody.
func (f *Feeder) FreeAll(ctx context.Context) (int64, error) {
	tag, err := f.db.lazy.Exec(ctx, "UPDATE due SET claimer = 0 WHERE claimer < 0")
	f.signal()
	return tag.RowsAffected(), f.db.describe(err)
}

// signal wakes who waits for free rows.
func (f *Feeder) signal() {
	select {
	case f.freed <- struct{}{}:
	default:
	}
}

package postgres

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
)

// Feeder serves feeder.Feeder from the table due, which Guarantee's commits write. A claim is the number of the instance
// that works on the message; it need not survive a crash of the server, so it waits for no disk.
//
// Which ids this process holds is remembered here as well: when the server has failed to answer a claim or a settlement,
// the table may name this instance for ids that nobody works on. They are released before the next claim.
type Feeder struct {
	db    *DB
	now   func() time.Time
	freed chan struct{} // signalled when claims were settled

	mu    sync.Mutex
	taken map[message.ID]bool
	doubt bool        // the table may hold claims of this instance that are not taken
	lost  atomic.Bool // it may hold ids as handed out by this instance that nobody knows of
}

// NewFeeder uses the system of record; now is the clock that due times are compared with.
func NewFeeder(db *DB, now func() time.Time) *Feeder {
	return &Feeder{db: db, now: now, freed: make(chan struct{}, 1), taken: map[message.ID]bool{}}
}

// look is how often an idle feeder looks for what other processes have made due.
const look = 50 * time.Millisecond

// claimSQL takes what is due and nobody else is taking. The instance's row is locked, so that it cannot be struck off the
// list, and its claims handed out again, between the claim and its commit.
const claimSQL = `WITH me AS (
	SELECT id FROM instances WHERE id = $1 FOR KEY SHARE
), next AS (
	SELECT d.id, d.at FROM me, LATERAL (SELECT id, at FROM due WHERE claimer = 0 AND at <= $2 ORDER BY at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) d
), taken AS (
	UPDATE due SET claimer = $4 WHERE id = ANY (ARRAY(SELECT id FROM next)) RETURNING id, at
)
SELECT id FROM taken ORDER BY at`

// Claim waits until an id is due.
func (f *Feeder) Claim(ctx context.Context, limit int) ([]message.ID, error) {
	return f.await(ctx, func(ctx context.Context) ([]message.ID, error) { return f.claim(ctx, limit) })
}

// await tries until there is something.
func (f *Feeder) await(ctx context.Context, try func(context.Context) ([]message.ID, error)) ([]message.ID, error) {
	for {
		changed := f.db.commits() // taken before reading, so that no commit of this process falls between
		ids, err := whole(ctx, try)
		if err != nil || len(ids) > 0 {
			return ids, err
		}
		if err := f.sleep(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// wholeWithin is how long a statement that claims may go on once nobody waits for it any more.
const wholeWithin = 10 * time.Second

// whole begins nothing once ctx has ended, and carries through what it has begun: a statement given up half-way may run on in the
// server, holding the rows, or claim them after everybody has looked.
func whole[T any](ctx context.Context, claim func(context.Context) (T, error)) (result T, err error) {
	if err := ctx.Err(); err != nil {
		return result, err
	}
	lasting, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() {
		_ = lifecycle.Sleep(lasting, wholeWithin)
		giveUp()
	})
	defer stop()
	return claim(lasting)
}

// claim takes what is due now.
func (f *Feeder) claim(ctx context.Context, limit int) ([]message.ID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.clear(ctx); err != nil {
		return nil, err
	}
	ids, err := rows(ctx, f.db, f.db.lazy, pgx.RowTo[message.ID], claimSQL, f.db.instance.id, micros(f.now()), limit, f.db.instance.id)
	f.doubt = err != nil
	for _, id := range ids {
		f.taken[id] = true
	}
	return ids, err
}

// clear frees what the table may name this instance for by mistake.
func (f *Feeder) clear(ctx context.Context) error {
	if !f.doubt {
		return nil
	}
	_, err := f.db.lazy.Exec(ctx, "UPDATE due SET claimer = 0 WHERE claimer = $1 AND id <> ALL ($2::text[])", f.db.instance.id, texts(slices.Collect(maps.Keys(f.taken))))
	return f.db.describe(err)
}

// sleep ends at this process's next commit, when claims are settled, or when it is time to look again.
func (f *Feeder) sleep(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(look)
	defer timer.Stop()
	select {
	case <-changed:
	case <-f.freed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

const settleSQL = "UPDATE due SET claimer = 0 WHERE id = ANY ($1::text[]) AND claimer = $2"

// Settle ends claims.
func (f *Feeder) Settle(ctx context.Context, ids []message.ID) error {
	list := texts(ids)
	slices.Sort(list) // the order in which commits lock them, too
	err := undeadlocked(func() error {
		_, err := f.db.lazy.Exec(ctx, settleSQL, list, f.db.instance.id)
		return err
	})
	f.mu.Lock()
	for _, id := range ids {
		delete(f.taken, id)
	}
	f.doubt = f.doubt || err != nil
	f.mu.Unlock()
	f.signal()
	return f.db.describe(err)
}

// Depth counts what is due.
func (f *Feeder) Depth(ctx context.Context) (d feeder.Depth, err error) {
	var oldest *int64
	err = f.db.lazy.QueryRow(ctx, "SELECT count(*), min(at) FROM due WHERE at <= $1", micros(f.now())).Scan(&d.Due, &oldest)
	d.Oldest = timeOf(oldest)
	return d, f.db.describe(err)
}

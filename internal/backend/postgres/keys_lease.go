package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
)

const (
	again  = 20 * time.Millisecond // between two looks of a caller whose turn it is for what other processes have released
	answer = 2 * time.Second       // that a statement is waited for which may have granted a lease to a caller who is out of time
)

// Lease takes a key, or waits in the queue for one.
func (k *Keys) Lease(ctx context.Context, r key.Request) (key.Lease, error) {
	c, err := line.For(ctx, r, k.Get)
	if err != nil {
		return key.Lease{}, err
	}
	k.queue.Join(c)
	defer k.queue.Leave(c)
	for {
		var timer <-chan time.Time
		if k.queue.First(c) {
			granted, got, err := k.try(ctx, r, c)
			if err != nil || got {
				return granted, err
			}
			timer = time.After(again)
		}
		select {
		case <-c.Wake:
		case <-timer:
		case <-ctx.Done():
			return key.Lease{}, line.Busy(r, ctx.Err())
		}
	}
}

// hold is a lease that this process granted.
type hold struct {
	fence   uint64
	expires time.Time
}

const (
	grantSQL = `UPDATE keys SET status = 'leased', holder = $1, instance = $2, expires = clock_timestamp() + $4, fence = fence + 1,
		last_used = greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT max(last_used) + 1 FROM keys))
		WHERE id = (SELECT id FROM keys WHERE status = 'free' AND NOT (SELECT pg_try_advisory_xact_lock_shared($3, $2)) AND `
	grantNamed = grantSQL + "id = $5 FOR UPDATE) RETURNING " + keyColumns
	grantAny   = grantSQL + "chain = $5 AND pool = $6 AND pool <> '' AND id <> ALL ($7::text[]) ORDER BY last_used, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING " + keyColumns
)

// try looks at the table once. While this process's own instance does not hold its lock, which nobody else can then get (see the
// statement), every lease of it would count as failed, so none is granted. Otherwise it takes the least recently used of the free
// keys that are wanted (I11), under the next fence. When there is none it sets aside those that are overdue, and says so when
// there is nothing left to wait for.
func (k *Keys) try(ctx context.Context, r key.Request, c *line.Claim) (granted key.Lease, got bool, err error) {
	reserved := k.queue.Reserved(c)
	var leased key.Key
	var expires time.Time
	k.begin()
	err = k.db.update(ctx, "keys.lease", func() (err error) {
		expires = time.Now().Add(r.TTL)
		if r.Key != "" {
			leased, got, err = k.grant(ctx, grantNamed, r.Holder, k.db.instance.id, int32(lockClass), r.TTL, r.Key)
		} else {
			leased, got, err = k.grant(ctx, grantAny, r.Holder, k.db.instance.id, int32(lockClass), r.TTL, r.Chain, r.Pool, named(reserved))
		}
		return err
	})
	k.end(leased, expires, err == nil && got)
	if err != nil {
		k.queue.Freed(leased.ID, c.Pool)
		return key.Lease{}, false, line.OutOfTime(ctx, r, err)
	}
	if !got {
		return key.Lease{}, false, k.meet(ctx, r)
	}
	return key.Lease{Key: leased, Holder: r.Holder, Fence: leased.Fence, Expires: expires}, true, nil
}

// grant runs a statement that leases. Once it has begun it is not cut off when ctx ends: it may have leased a key all the same, which
// nobody would know of and which would be set aside.
func (k *Keys) grant(ctx context.Context, statement string, args ...any) (leased key.Key, got bool, err error) {
	conn, err := k.db.pool.Acquire(ctx)
	if err != nil {
		return leased, false, k.db.describe(err)
	}
	defer conn.Release()
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { _ = time.AfterFunc(answer, end) })()
	return one(lasting, k.db, conn, keyRow, statement, args...)
}

// begin notes that a lease is under way. Until its end a row of this process that is not held is not known to be lost: others
// may read the row before its lease is remembered here.
func (k *Keys) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.granting++
}

func (k *Keys) end(leased key.Key, expires time.Time, got bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.granting--
	if got {
		k.held[leased.ID] = &hold{fence: leased.Fence, expires: expires}
	}
}

func named(keys map[string]bool) []string {
	list := make([]string, 0, len(keys))
	for id := range keys {
		list = append(list, id)
	}
	return list
}

// meet looks at wanted keys that cannot be taken, and sets aside those whose lease is overdue. An error says that there is
// nothing to wait for.
func (k *Keys) meet(ctx context.Context, r key.Request) error {
	where, args := "WHERE id = $1", []any{r.Key}
	if r.Key == "" {
		where, args = "WHERE chain = $1 AND pool = $2 AND pool <> ''", []any{r.Chain, r.Pool}
	}
	leases, err := k.leases(ctx, k.db.pool, where, args...)
	if err != nil {
		return line.OutOfTime(ctx, r, err)
	}
	waiting, all := false, make([]key.Key, len(leases))
	for i := range leases {
		l := &leases[i]
		if overdue := k.judge(*l); l.Status == key.Leased && overdue != "" {
			if err := k.expire(ctx, l, overdue); err != nil {
				return line.OutOfTime(ctx, r, err)
			}
		}
		waiting = waiting || l.Status != key.Quarantined
		all[i] = l.Key
	}
	if !waiting {
		return line.Nothing(r, all)
	}
	return nil
}

// expire sets aside a key whose lease is overdue, if it is still that lease.
func (k *Keys) expire(ctx context.Context, l *lease, overdue string) error {
	tag, err := k.db.pool.Exec(ctx, "UPDATE keys SET status = 'quarantined', reason = $3, instance = 0, expires = NULL WHERE id = $1 AND status = 'leased' AND fence = $2",
		l.ID, l.Fence, clean(overdue))
	if err == nil && tag.RowsAffected() == 1 {
		l.Status, l.Reason = key.Quarantined, overdue
	}
	return k.db.describe(err)
}

// lease is a row with what there is to judge it by.
type lease struct {
	key.Key
	mine  bool // granted to this instance
	alive bool // the instance that it was granted to has not ended
	over  bool // its time is, by the database's clock
}

// leases reads rows to be judged. An instance lives while nobody else can get its lock.
func (k *Keys) leases(ctx context.Context, from querier, rest string, args ...any) ([]lease, error) {
	query := fmt.Sprintf(`SELECT %s, instance = %d, instance = %d OR instance <> 0 AND NOT pg_try_advisory_xact_lock_shared(%d, instance),
		coalesce(expires < clock_timestamp(), false) FROM keys %s`, keyColumns, k.db.instance.id, k.db.instance.id, lockClass, rest)
	return rows(ctx, k.db, from, func(row pgx.CollectableRow) (l lease, err error) {
		var used int64
		err = row.Scan(&l.ID, &l.Chain, &l.Address, &l.Pool, &l.Status, &l.Holder, &l.Fence, &l.Nonce, &l.Known, &used, &l.Reason, &l.mine, &l.alive, &l.over)
		return l, err
	}, query, args...)
}

// judge says why the lease in a row counts as failed; "" when it does not.
func (k *Keys) judge(row lease) (overdue string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[row.ID]
	unknown := row.mine && (h == nil || h.fence != row.Fence)
	switch {
	case row.alive && unknown && k.granting > 0:
		return "" // look again when it has ended
	case !row.alive, unknown:
		return fmt.Sprintf("held by %s when its process ended, or when the lease could not be confirmed", row.Holder)
	case row.over, row.mine && !time.Now().Before(h.expires):
		return fmt.Sprintf("held by %s, whose lease %d expired", row.Holder, row.Fence)
	}
	return ""
}

// released drops the lease with the fence.
func (k *Keys) released(l key.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[l.Key.ID]; h != nil && h.fence == l.Fence {
		delete(k.held, l.Key.ID)
	}
}

package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
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
			got, err := k.try(ctx, r, c)
			if err != nil || got.lease.Fence != 0 {
				return got.lease, err
			}
			if !got.retry.IsZero() {
				timer = time.After(time.Until(got.retry))
			}
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

// attempt is what one look at the table gave: a lease, or when to look again at the latest.
type attempt struct {
	lease key.Lease
	retry time.Time
	why   error // nothing to wait for
}

// try looks at the table once and takes the key if it is there.
func (k *Keys) try(ctx context.Context, r key.Request, c *line.Claim) (got attempt, err error) {
	var mine *hold
	err = k.db.update(ctx, "keys.lease", func(conn *sqlite.Conn) error {
		free, err := k.choose(conn, r, c, &got)
		if err != nil || free == nil {
			return err
		}
		if mine, err = k.grant(conn, r, free, &got); err == nil {
			k.queue.Leave(c) // the next in line need not wait for this commit
		}
		return err
	})
	if err == nil {
		return got, got.why
	}
	if mine != nil {
		k.forget(got.lease.Key.ID, mine)
		k.queue.Freed(got.lease.Key.ID, c.Pool)
	}
	return attempt{}, line.OutOfTime(ctx, r, err)
}

// choose finds the free key to take; when there is none it says in got why, or until when to wait.
func (k *Keys) choose(conn *sqlite.Conn, r key.Request, c *line.Claim, got *attempt) (*key.Key, error) {
	if r.Key != "" {
		row, err := readKey(conn, r.Key)
		if err != nil || row.Status == key.Free {
			return &row, err
		}
		return nil, k.wait(conn, r, []key.Key{row}, got)
	}
	reserved := k.queue.Reserved(c)
	free, err := readKeys(conn, "WHERE chain = ? AND pool = ? AND pool <> '' AND status = 'free' ORDER BY last_used, id LIMIT ?", func(s *sqlite.Stmt) {
		s.BindText(1, r.Chain)
		s.BindText(2, r.Pool)
		s.BindInt64(3, int64(len(reserved)+1))
	})
	if err != nil {
		return nil, err
	}
	for i := range free {
		if !reserved[free[i].ID] {
			return &free[i], nil // least recently used (I11)
		}
	}
	all, err := readKeys(conn, "WHERE chain = ? AND pool = ? AND pool <> ''", func(s *sqlite.Stmt) {
		s.BindText(1, r.Chain)
		s.BindText(2, r.Pool)
	})
	if err != nil {
		return nil, err
	}
	return nil, k.wait(conn, r, all, got)
}

// wait quarantines what is overdue among keys that cannot be taken, and finds when the first of the others will be.
func (k *Keys) wait(conn *sqlite.Conn, r key.Request, rows []key.Key, got *attempt) error {
	waiting := false
	for i := range rows {
		row := &rows[i]
		switch row.Status {
		case key.Quarantined:
		case key.Free: // reserved for one who came earlier
			waiting = true
		case key.Leased:
			expires, overdue := k.judge(*row)
			if overdue != "" {
				if err := setAside(conn, row, overdue); err != nil {
					return err
				}
				continue
			}
			waiting = true
			if got.retry.IsZero() || expires.Before(got.retry) {
				got.retry = expires
			}
		}
	}
	if !waiting {
		got.why = line.Nothing(r, rows)
	}
	return nil
}

// grant writes the lease under the next fence.
func (k *Keys) grant(conn *sqlite.Conn, r key.Request, free *key.Key, got *attempt) (*hold, error) {
	used, err := k.tick(conn)
	if err != nil {
		return nil, err
	}
	free.Status, free.Holder, free.LastUsed = key.Leased, r.Holder, time.UnixMicro(used)
	free.Fence++
	err = run(conn, "UPDATE keys SET status = 'leased', holder = ?, fence = ?, last_used = ? WHERE id = ?", func(s *sqlite.Stmt) {
		s.BindText(1, r.Holder)
		s.BindInt64(2, int64(free.Fence))
		s.BindInt64(3, used)
		s.BindText(4, free.ID)
	}, nil)
	if err != nil {
		return nil, err
	}
	h := &hold{fence: free.Fence, expires: time.Now().Add(r.TTL)}
	got.lease = key.Lease{Key: *free, Holder: r.Holder, Fence: h.fence, Expires: h.expires}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[free.ID] = h
	return h, nil
}

// tick is now, and later than every lease before.
func (k *Keys) tick(conn *sqlite.Conn) (int64, error) {
	if k.clock == 0 { // only the writing goroutine is here
		_, err := queryRow(conn, "SELECT coalesce(max(last_used), 0) FROM keys", nil, func(s *sqlite.Stmt) { k.clock = s.ColumnInt64(0) })
		if err != nil {
			return 0, err
		}
	}
	k.clock = max(k.clock+1, micros(time.Now()))
	return k.clock, nil
}

// judge says when the lease in a row ends or, when it counts as failed, why.
func (k *Keys) judge(row key.Key) (expires time.Time, overdue string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[row.ID]
	if h == nil || h.fence != row.Fence {
		return expires, fmt.Sprintf("held by %s when its process ended, or when the lease could not be confirmed", row.Holder)
	}
	if !time.Now().Before(h.expires) {
		return expires, fmt.Sprintf("held by %s, whose lease %d expired at %s", row.Holder, row.Fence, h.expires.UTC().Format(time.RFC3339))
	}
	return h.expires, ""
}

// forget drops a lease whose commit failed; a newer one is left alone.
func (k *Keys) forget(id string, h *hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[id] == h {
		delete(k.held, id)
	}
}

// released drops the lease with the fence.
func (k *Keys) released(l key.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[l.Key.ID]; h != nil && h.fence == l.Fence {
		delete(k.held, l.Key.ID)
	}
}

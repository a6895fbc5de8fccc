package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
)

// Lease takes a key, or waits in the queue for one.
func (k *Keys) Lease(ctx context.Context, r key.Request) (key.Lease, error) {
	c, err := line.For(ctx, r, k.known)
	if err != nil {
		return key.Lease{}, err
	}
	k.queue.Join(c)
	defer k.queue.Leave(c)
	for {
		var expiry <-chan time.Time
		if k.queue.First(c) {
			granted, wait, err := k.try(ctx, r, c)
			if err != nil || granted.Fence > 0 {
				return granted, err
			}
			if wait > 0 {
				expiry = time.After(wait)
			}
		}
		select {
		case <-c.Wake:
		case <-expiry:
		case <-ctx.Done():
			return key.Lease{}, line.Busy(r, ctx.Err())
		}
	}
}

// known gives a key for what never changes of it.
func (k *Keys) known(ctx context.Context, id string) (key.Key, error) {
	if r := k.view.row(id); r != nil {
		return r.key(), nil
	}
	return k.Get(ctx, id)
}

// outlook is what there is to wait for when no key can be taken.
type outlook struct {
	waiting bool          // for a lease that ends
	next    time.Duration // how long the first of the leases lasts; what is free sooner is told by the watch
	rows    []*row        // of the keys that are wanted
}

// try takes the least recently used of the free keys that are wanted (I11), or says when to look again.
func (k *Keys) try(ctx context.Context, r key.Request, c *line.Claim) (key.Lease, time.Duration, error) {
	for confirmed := false; ; {
		if err := ctx.Err(); err != nil {
			return key.Lease{}, 0, line.Busy(r, err)
		}
		if free := k.view.take(r, k.queue.Reserved(c)); free != nil {
			k.queue.Serve(c, true)
			granted, got, err := k.grant(ctx, r, free)
			if err != nil || got {
				return granted, 0, line.OutOfTime(ctx, r, err)
			}
			k.queue.Serve(c, false)
			continue
		}
		ahead, err := k.meet(ctx, r)
		if err != nil || ahead.waiting {
			return key.Lease{}, ahead.next, line.OutOfTime(ctx, r, err)
		}
		if confirmed {
			return key.Lease{}, 0, line.Nothing(r, ahead.keys())
		}
		if _, err := k.reload(ctx); err != nil {
			return key.Lease{}, 0, line.OutOfTime(ctx, r, err)
		}
		confirmed = true
	}
}

// grant leases a key that is free as far as is known. It is not granted when it is not, or when the session has ended.
func (k *Keys) grant(ctx context.Context, r key.Request, free *row) (granted key.Lease, got bool, err error) {
	instance := k.session.current()
	next := free.record.leased(r, instance, k.view.after(time.Now()))
	expires := time.Now().Add(r.TTL)
	k.remember(free.id, hold{next.Fence, expires}) // beforehand: others in this process may see the lease before the answer
	defer k.view.done(free.id)
	var now *row
	err = k.update(ctx, "keys.lease", func(ctx context.Context) (err error) {
		now, got, err = k.swap(ctx, free, next, present(k.instances+instance))
		return err
	})
	if err != nil || !got {
		k.forget(free.id, next.Fence)
	}
	switch {
	case err != nil:
		k.view.done(free.id)
		k.wake(free) // whoever is next finds out what is stored
		return key.Lease{}, false, err
	case got:
		return key.Lease{Key: now.key(), Holder: r.Holder, Fence: next.Fence, Expires: expires}, true, nil
	case now == nil || now.revision == free.revision: // the session has ended
		return key.Lease{}, false, k.session.revive(ctx, instance)
	}
	return key.Lease{}, false, nil
}

// meet looks at the wanted keys when none can be taken, and sets aside those whose lease is overdue. With every key in use this comes
// with every lease: it costs nothing but a look at each.
func (k *Keys) meet(ctx context.Context, r key.Request) (ahead outlook, err error) {
	ahead.rows = k.view.wanted(r)
	for i, found := range ahead.rows {
		if found.Status != key.Leased {
			ahead.waiting = ahead.waiting || found.Status != key.Quarantined
			continue
		}
		v := k.judge(found)
		if v.overdue != "" {
			if found, err = k.overdue(ctx, found); err != nil {
				return ahead, err
			}
			ahead.rows[i], v = found, k.judge(found)
		}
		ahead.add(found, v.expires)
	}
	return ahead, nil
}

// overdue sets a key aside if its lease has failed, and gives what is known of it then.
func (k *Keys) overdue(ctx context.Context, found *row) (*row, error) {
	var aside *row
	err := k.call(context.WithoutCancel(ctx), func(ctx context.Context) (err error) {
		aside, err = k.setAside(ctx, found, k.judge)
		return err
	})
	if err != nil || aside == nil {
		return found, err
	}
	return aside, k.note(ctx, aside.id)
}

func (o *outlook) add(r *row, expires time.Time) {
	o.waiting = o.waiting || r.Status != key.Quarantined
	if left := max(time.Until(expires), 1); r.Status == key.Leased && (o.next == 0 || left < o.next) {
		o.next = left
	}
}

func (o *outlook) keys() []key.Key {
	slices.SortFunc(o.rows, func(a, b *row) int { return cmp.Compare(a.id, b.id) })
	list := make([]key.Key, len(o.rows))
	for i, r := range o.rows {
		list[i] = r.key()
	}
	return list
}

// verdict is what a process knows about a lease.
type verdict struct {
	mine    bool // granted by this instance
	expires time.Time
	overdue string // why it counts as failed, if it does
	gone    bool   // for the reason that its instance is not there, which etcd has to confirm
}

// judge says when a lease ends or, when it counts as failed, why.
func (k *Keys) judge(r *row) verdict {
	v := verdict{mine: r.Instance == k.session.current(), expires: r.seen.Add(r.TTL)}
	lost := false
	if v.mine {
		k.mu.Lock()
		h, there := k.held[r.id]
		k.mu.Unlock()
		v.expires, lost = h.expires, !there || h.fence != r.Fence
	} else {
		v.gone = !k.view.lives(r.Instance)
	}
	switch {
	case lost, v.gone:
		v.overdue = fmt.Sprintf("held by %s when its process ended, or when the lease could not be confirmed", r.Holder)
	case !time.Now().Before(v.expires):
		v.overdue = fmt.Sprintf("held by %s, whose lease %d expired", r.Holder, r.Fence)
	}
	return v
}

// forget drops the lease with the fence.
func (k *Keys) forget(id string, fence uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[id].fence == fence {
		delete(k.held, id)
	}
}

func (k *Keys) remember(id string, h hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[id] = h
}

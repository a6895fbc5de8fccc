// Package etcd serves key.Registry from etcd, for any number of processes at once.
//
// A key is one value in etcd, with its lease in it, and every change of it is one transaction that compares the value's
// modification revision: of two processes that want a key one wins, and an error leaves one question open, whether the write
// happened, which the next read answers. The fence is a number in the value, one more with each lease. A lease names the
// instance that it was granted to, which is a session of etcd: when the process is gone, or was stopped for longer than the
// session lasts, its instance is gone from etcd, and whoever meets its leases sets the keys aside (I10). The transaction that
// does so compares that the instance is gone, and the one that grants a lease compares that it is there.
//
// Each process watches the registry and keeps a copy in memory (view), so that a lease and its release are one round trip
// each. The copy only proposes: what it proposes is compared by etcd, and a refusal is given only after a linearizable read.
// The same watch tells who waits that a key is free; nothing is polled.
//
// Writes that come together are one transaction of etcd (gather), which stands or falls as a whole; when it falls each is tried for
// itself.
//
// No clock of two machines is compared: how long a lease lasts is measured by the process that granted it and, from the moment
// that they see it, by the others.
package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/problem"
)

// Keys serves key.Registry: it is a process's share of the registry in etcd. Close it before the process ends.
type Keys struct {
	*server
	session *session
	view    *view
	queue   line.Queue
	stop    context.CancelFunc
	stopped sync.WaitGroup

	mu   sync.Mutex
	held map[string]hold // by key id: the leases that this process granted, and those that it is about to
}

// hold is a lease of this process, by its own clock.
type hold struct {
	fence   uint64
	expires time.Time
}

// Open connects to the cluster and takes an instance.
func Open(ctx context.Context, options Options) (*Keys, error) {
	s, err := connect(ctx, options)
	if err != nil {
		return nil, err
	}
	k := &Keys{server: s, view: newView(), held: map[string]hold{}}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	k.stop = stop
	for range abreast {
		k.stopped.Go(func() { s.gather(running) })
	}
	if k.session, err = s.join(ctx); err == nil {
		_, err = k.reload(ctx)
	}
	if err == nil {
		err = k.restore(ctx)
	}
	if err != nil {
		stop()
		k.stopped.Wait()
		_ = s.client.Close()
		return nil, s.atStart(ctx, err)
	}
	k.stopped.Go(func() { k.session.keep(running) })
	k.stopped.Go(func() { k.follow(running) })
	return k, nil
}

// Close gives the instance back: what it still holds is set aside by whoever meets it.
func (k *Keys) Close() error {
	k.stop()
	k.stopped.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := k.session.leave(ctx)
	if closed := k.client.Close(); err == nil {
		err = closed
	}
	return err
}

// Process names this process among all that share the registry, as the holder of leases. It does not change while it runs.
func (k *Keys) Process() string { return k.session.process }

// Get reads one key.
func (k *Keys) Get(ctx context.Context, id string) (key.Key, error) {
	found, err := k.read(ctx, id)
	if err != nil {
		return key.Key{}, err
	}
	known, err := k.decided(ctx, id)
	if err != nil {
		return key.Key{}, err
	}
	return found.decided(known[id]), nil
}

func (k *Keys) read(ctx context.Context, id string) (*row, error) {
	var answer *clientv3.GetResponse
	err := k.call(ctx, func(ctx context.Context) (err error) {
		answer, err = k.client.Get(ctx, k.keys+id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(answer.Kvs) == 0 {
		return nil, problem.New(key.ErrUnknown.Kind, key.ErrUnknown.Code, "there is no key %s", id)
	}
	found, err := k.parse(answer.Kvs[0])
	if err != nil {
		return nil, err
	}
	return k.show(found), nil
}

// List reads all keys, by id.
func (k *Keys) List(ctx context.Context) ([]key.Key, error) {
	rows, err := k.reload(ctx)
	if err != nil {
		return nil, err
	}
	known, err := k.decided(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]key.Key, len(rows))
	for i, r := range rows {
		list[i] = r.decided(known[r.id])
	}
	return list, nil
}

// Add registers a key.
func (k *Keys) Add(ctx context.Context, added key.Key) error {
	if added.ID == "" || added.Chain == "" || added.Address == "" {
		return problem.New(key.ErrInvalid.Kind, key.ErrInvalid.Code, "a key needs an id, a chain and an address; got %q, %q, %q", added.ID, added.Chain, added.Address)
	}
	r := &row{id: added.ID, record: record{Chain: added.Chain, Address: added.Address, Pool: added.Pool, Status: key.Free}}
	address := k.addresses + added.Chain + " " + added.Address
	err := k.update(ctx, "keys.add", func(ctx context.Context) error {
		text, err := r.record.encode()
		if err != nil {
			return err
		}
		answer, err := k.client.Txn(ctx).If(absent(k.keys+r.id), absent(address)).
			Then(clientv3.OpPut(k.keys+r.id, text), clientv3.OpPut(address, r.id)).Commit()
		if err != nil {
			return err
		}
		if !answer.Succeeded {
			return problem.New(key.ErrExists.Kind, key.ErrExists.Code, "the key %s, or another one with the address %s on %s, is registered already", added.ID, added.Address, added.Chain)
		}
		r.revision = answer.Header.Revision
		k.show(r)
		return nil
	})
	if err == nil {
		err = k.note(ctx, r.id)
	}
	return err
}

// Release ends a lease. The copy in memory knows it, as a rule; whether it has ended is read from etcd.
func (k *Keys) Release(ctx context.Context, l key.Lease) error {
	err := k.update(ctx, "keys.release", func(ctx context.Context) error {
		r := k.view.row(l.Key.ID)
		for fresh := false; ; {
			if r == nil || !r.leasedTo(l) {
				if fresh {
					return problem.New(key.ErrStale.Kind, key.ErrStale.Code, "the lease of %s on the key %s with the fence %d has ended; nothing was released", l.Holder, l.Key.ID, l.Fence)
				}
				var err error
				if r, err = k.read(ctx, l.Key.ID); err != nil && problem.KindOf(err) != problem.NotFound {
					return err
				}
				fresh = true
				continue
			}
			now, won, err := k.swap(ctx, r, r.record.freed())
			if err != nil || won {
				return err
			}
			r, fresh = now, true
		}
	})
	if err == nil {
		k.forget(l.Key.ID, l.Fence)
	}
	return err
}

// Quarantine sets aside the keys of failed holders. Holders in other processes are judged by whether their instance lives,
// those in this one by their name, too.
func (k *Keys) Quarantine(ctx context.Context, lives func(key.Key) bool) (aside []key.Key, err error) {
	failed := func(r *row) verdict {
		v := k.judge(r)
		if v.overdue == "" && v.mine && !lives(r.key()) {
			v.overdue = fmt.Sprintf("held by %s, which is no longer running", r.Holder)
		}
		return v
	}
	err = k.update(ctx, "keys.quarantine", func(ctx context.Context) error {
		rows, err := k.reload(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			now, err := k.setAside(ctx, r, failed)
			if err != nil {
				return err
			}
			if now != nil {
				aside = append(aside, now.key())
			}
		}
		return nil
	})
	for _, found := range aside {
		if err == nil {
			err = k.note(ctx, found.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	return aside, nil
}

// setAside quarantines a key if its lease has failed, and looks again when it finds another lease. It gives nil when there was
// nothing to do.
func (k *Keys) setAside(ctx context.Context, r *row, failed func(*row) verdict) (*row, error) {
	for r != nil && r.Status == key.Leased {
		v := failed(r)
		if v.overdue == "" {
			return nil, nil
		}
		var conditions []clientv3.Cmp
		if v.gone {
			conditions = append(conditions, absent(k.instances+r.Instance))
		}
		now, won, err := k.swap(ctx, r, r.record.quarantined(v.overdue), conditions...)
		if err != nil {
			return nil, err
		}
		if won {
			return now, nil
		}
		if now != nil && now.revision == r.revision { // the instance is there after all, and now it is seen
			if _, err := k.reload(ctx); err != nil {
				return nil, err
			}
		}
		r = now
	}
	return nil, nil
}

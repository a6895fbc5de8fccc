package etcd

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/lifecycle"
)

// view is the registry as this process has seen it last. It may lag behind, never back: a row gives way to a later one only.
type view struct {
	mu        sync.Mutex
	revision  int64 // everything up to here has been seen
	rows      map[string]*row
	pools     map[string]*pool // by line.PoolOf
	taken     map[string]bool  // keys that somebody in this process is about to lease
	instances map[string]bool
	newest    int64 // the highest Used
}

// pool is the keys that are interchangeable.
type pool struct {
	members map[string]*row
	free    []*row // least recently used first, then by id
}

func newView() *view {
	return &view{rows: map[string]*row{}, pools: map[string]*pool{}, taken: map[string]bool{}, instances: map[string]bool{}}
}

func (v *view) row(id string) *row {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rows[id]
}

func (v *view) lives(instance string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.instances[instance]
}

// after is a time for the next lease: later than that of every lease seen, whatever the clock says.
func (v *view) after(now time.Time) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.newest = max(v.newest+1, now.UnixMicro())
	return v.newest
}

// take chooses the free key to try, nil for none; nobody else in this process tries it until done.
func (v *view) take(r key.Request, reserved map[string]bool) *row {
	v.mu.Lock()
	defer v.mu.Unlock()
	chosen := v.choose(r, reserved)
	if chosen != nil {
		v.taken[chosen.id] = true
	}
	return chosen
}

func (v *view) choose(r key.Request, reserved map[string]bool) *row {
	if r.Key != "" {
		if named := v.rows[r.Key]; named != nil && named.Status == key.Free && !v.taken[named.id] {
			return named
		}
		return nil
	}
	p := v.pools[line.PoolOf(r.Chain, r.Pool)]
	if p == nil {
		return nil
	}
	for _, free := range p.free {
		if !reserved[free.id] && !v.taken[free.id] {
			return free
		}
	}
	return nil
}

func (v *view) done(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.taken, id)
}

// wanted is all keys that would do.
func (v *view) wanted(r key.Request) []*row {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r.Key != "" {
		if named := v.rows[r.Key]; named != nil {
			return []*row{named}
		}
		return nil
	}
	p := v.pools[line.PoolOf(r.Chain, r.Pool)]
	if p == nil {
		return nil
	}
	all := make([]*row, 0, len(p.members))
	for _, r := range p.members {
		all = append(all, r)
	}
	return all
}

// put takes a row in, unless it is old, and gives the one that is there now. A lease is known since it was first seen, also when
// it is seen again at a later revision.
func (v *view) put(r *row) (kept *row, changed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.rows[r.id]
	if old != nil && old.revision >= r.revision {
		return old, false
	}
	if old != nil && old.Status == key.Leased && old.Fence == r.Fence {
		r.seen = old.seen
	}
	v.rows[r.id] = r
	v.newest = max(v.newest, r.Used)
	if name := line.PoolOf(r.Chain, r.Pool); name != "" {
		if v.pools[name] == nil {
			v.pools[name] = &pool{members: map[string]*row{}}
		}
		v.pools[name].put(old, r)
	}
	return r, true
}

func (p *pool) put(old, r *row) {
	p.members[r.id] = r
	if old != nil && old.Status == key.Free {
		if at, there := slices.BinarySearchFunc(p.free, old, byUse); there {
			p.free = slices.Delete(p.free, at, at+1)
		}
	}
	if r.Status == key.Free {
		at, _ := slices.BinarySearchFunc(p.free, r, byUse)
		p.free = slices.Insert(p.free, at, r)
	}
}

func byUse(a, b *row) int { return cmp.Or(cmp.Compare(a.Used, b.Used), cmp.Compare(a.id, b.id)) }

// begin gives the revision after which there is something new.
func (v *view) begin() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revision + 1
}

// advance notes which instances there are and which have gone, as of a revision.
func (v *view) advance(revision int64, change func(instances map[string]bool)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision > v.revision {
		change(v.instances)
		v.revision = revision
	}
}

// orphans is the keys that were leased to an instance that is not there.
func (v *view) orphans() (list []*row) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.rows {
		if r.Status == key.Leased && !v.instances[r.Instance] {
			list = append(list, r)
		}
	}
	return list
}

// show takes a row into the view, tells who waits for it, and gives the newest that is known.
func (k *Keys) show(r *row) *row {
	kept, changed := k.view.put(r)
	if changed && r.Status != key.Leased {
		k.wake(r)
	}
	return kept
}

func (k *Keys) wake(r *row) { k.queue.Freed(r.id, line.PoolOf(r.Chain, r.Pool)) }

// reload reads everything, linearizably, and gives the keys by id.
func (k *Keys) reload(ctx context.Context) ([]*row, error) {
	var answer *clientv3.TxnResponse
	err := k.call(ctx, func(ctx context.Context) (err error) {
		answer, err = k.client.Txn(ctx).Then(clientv3.OpGet(k.keys, clientv3.WithPrefix()), clientv3.OpGet(k.instances, clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
		return err
	})
	if err != nil {
		return nil, err
	}
	k.view.advance(answer.Header.Revision, func(instances map[string]bool) {
		clear(instances)
		for _, kv := range answer.Responses[1].GetResponseRange().Kvs {
			instances[strings.TrimPrefix(string(kv.Key), k.instances)] = true
		}
	})
	var rows []*row
	for _, kv := range answer.Responses[0].GetResponseRange().Kvs {
		r, err := k.parse(kv)
		if err != nil {
			return nil, err
		}
		rows = append(rows, k.show(r))
	}
	return rows, nil
}

// follow keeps the view up to date until ctx ends.
func (k *Keys) follow(ctx context.Context) {
	for ctx.Err() == nil {
		watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for news := range k.client.Watch(watching, k.options.Prefix, clientv3.WithPrefix(), clientv3.WithRev(k.view.begin())) {
			if news.Err() != nil {
				break
			}
			k.apply(news.Events)
		}
		cancel()
		// What was missed, because there was no leader or because it is compacted away, is read in one piece.
		for ctx.Err() == nil {
			_ = lifecycle.Sleep(ctx, pause)
			if _, err := k.reload(ctx); err == nil {
				k.wakeOrphans()
				break
			}
		}
	}
}

// apply takes in what others, and this process, have written.
func (k *Keys) apply(events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	gone := false
	k.view.advance(events[len(events)-1].Kv.ModRevision, func(instances map[string]bool) {
		for _, e := range events {
			if instance, is := strings.CutPrefix(string(e.Kv.Key), k.instances); is {
				if e.Type == clientv3.EventTypePut {
					instances[instance] = true
				} else {
					delete(instances, instance)
					gone = true
				}
			}
		}
	})
	for _, e := range events {
		id, is := strings.CutPrefix(string(e.Kv.Key), k.keys)
		if known := k.view.row(id); !is || e.Type != clientv3.EventTypePut || known != nil && known.revision >= e.Kv.ModRevision {
			continue
		}
		if r, err := k.parse(e.Kv); err == nil { // who asks for the key itself gets the error
			k.show(r)
		}
	}
	if gone {
		k.wakeOrphans()
	}
}

// wakeOrphans tells those who wait for keys of instances that have gone.
func (k *Keys) wakeOrphans() {
	for _, r := range k.view.orphans() {
		k.wake(r)
	}
}

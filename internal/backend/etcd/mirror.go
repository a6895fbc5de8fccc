package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/custody/key"
)

// decided reads what the table of decisions knows of keys, of all keys without ids.
func (k *Keys) decided(ctx context.Context, ids ...string) (map[string]key.Key, error) {
	if k.options.Mirror == nil {
		return nil, nil
	}
	list, err := k.options.Mirror.Keys(ctx, ids...)
	known := make(map[string]key.Key, len(list))
	for _, one := range list {
		known[one.ID] = one
	}
	return known, err
}

// decided is the key with the next nonce that the table of decisions has.
func (r *row) decided(known key.Key) key.Key {
	k := r.key()
	k.Nonce = max(k.Nonce, known.Nonce)
	return k
}

// note tells the table of decisions what etcd says of a key. Of two who tell at the same time the one who has read earlier may
// write later, so each looks again when it has written. A caller who gives up does not leave it half told.
func (k *Keys) note(ctx context.Context, id string) error {
	if k.options.Mirror == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	told := key.Key{}
	for {
		r, err := k.read(ctx, id)
		if err != nil {
			return err
		}
		if now := r.standing(); now == told {
			return nil
		} else if err := k.options.Mirror.Note(ctx, r.key()); err != nil {
			return err
		} else {
			told = now
		}
	}
}

// standing is what a note is about. Leases that come and go meanwhile are told by their decisions.
func (r *row) standing() key.Key {
	k := r.key()
	k.Fence, k.Holder, k.LastUsed = 0, "", time.Time{}
	if k.Status == key.Leased {
		k.Status = key.Free
	}
	return k
}

// restore puts back what etcd does not know of the keys that the table of decisions has: all of it when etcd was made anew, or when
// the keys were leased by the table's own database so far; fences, when etcd was restored from a copy. A key that was leased or set
// aside is set aside, and in the latter case for an operator to look at, as the table keeps no more of its trust.
func (k *Keys) restore(ctx context.Context) error {
	known, err := k.decided(ctx)
	if err != nil {
		return err
	}
	for id, m := range known {
		if here := k.view.row(id); here == nil {
			err = k.readmit(ctx, m)
		} else if here.Fence < m.Fence {
			err = k.change(ctx, "keys.restore", id, func(r *record) (*key.Entry, error) {
				if r.Fence >= m.Fence {
					return nil, nil // leased and decided since it was read
				}
				r.Fence, r.Nonce = m.Fence, max(r.Nonce, m.Nonce)
				*r = r.quarantined("etcd had forgotten newer leases of it; it was restored from a copy")
				return nil, nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// SetAsideRestored quarantines every key, where the table of decisions was restored from a copy, and gives their number. What is known
// here of nonces is newer than the table and counts no more: what the chain has seen beyond the table was decided and forgotten.
func (k *Keys) SetAsideRestored(ctx context.Context, why string) (n int, err error) {
	known, err := k.decided(ctx)
	if err != nil {
		return 0, err
	}
	rows, err := k.reload(ctx)
	for _, found := range rows {
		if err == nil {
			err = k.change(ctx, "keys.restored", found.id, func(r *record) (*key.Entry, error) {
				*r = r.quarantined(why)
				r.Holder, r.Nonce, r.Known = key.Restored, known[found.id].Nonce, true
				return nil, nil
			})
		}
	}
	return len(rows), err
}

// readmit registers a key as it was.
func (k *Keys) readmit(ctx context.Context, m key.Key) error {
	r := record{Chain: m.Chain, Address: m.Address, Pool: m.Pool, Status: m.Status, Holder: m.Holder, Fence: m.Fence, Nonce: m.Nonce, Known: m.Known}
	switch m.Status {
	case key.Free:
	case key.Leased:
		r = r.quarantined("held by " + m.Holder + " when the registry in etcd took over")
	case key.Quarantined:
		r = r.quarantined(m.Reason)
		r.Distrust = clean(m.Reason)
	}
	text, err := r.encode()
	if err != nil {
		return err
	}
	err = k.call(ctx, func(ctx context.Context) error {
		_, err := k.client.Txn(ctx).If(absent(k.keys+m.ID)).Then(clientv3.OpPut(k.keys+m.ID, text), clientv3.OpPut(k.addresses+m.Chain+" "+m.Address, m.ID)).Commit()
		return err
	})
	if err == nil {
		_, err = k.read(ctx, m.ID)
	}
	return err
}

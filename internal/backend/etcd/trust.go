package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// Reconcile compares with the chain. A refusal is recorded, too. The highest nonce that the chain has shown is remembered, so
// that a node that lags behind cannot clear a key that a better one has incriminated.
func (k *Keys) Reconcile(ctx context.Context, id string, chainNonce uint64) error {
	if chainNonce > math.MaxInt64 {
		return problem.New(key.ErrInvalid.Kind, key.ErrInvalid.Code, "no chain counts to %d; the node's answer for the key %s is wrong", chainNonce, id)
	}
	known, err := k.decided(ctx, id) // after the chain was asked: what it shows of ours was decided before
	if err != nil {
		return err
	}
	var refusal error
	err = k.change(ctx, "keys.reconcile", id, func(r *record) (*key.Entry, error) {
		refusal = nil
		r.Nonce, r.Seen = max(r.Nonce, known[id].Nonce), max(r.Seen, chainNonce)
		if reason := r.foreign(); reason != "" {
			refusal = problem.New(key.ErrForeignUse.Kind, key.ErrForeignUse.Code, "the key %s stays quarantined: %s; find out which before it is used again", id, reason)
			return r.distrust("aval", reason), nil
		}
		if !r.Known || r.Status == key.Quarantined {
			r.Known, r.Nonce, r.Reason = true, max(r.Nonce, r.Seen), ""
		}
		if r.Status == key.Quarantined {
			*r = r.freed()
		}
		return nil, nil
	})
	if err == nil {
		err = refusal
	}
	return err
}

// foreign says why the key is used by something else than Aval, if it is.
func (r *record) foreign() string {
	if r.Distrust != "" || !r.Known || r.Seen <= r.Nonce {
		return r.Distrust
	}
	return fmt.Sprintf("the chain has seen %d transactions of %s, Aval decided %d: the key is used by something else, or the database was restored", r.Seen, r.Address, r.Nonce)
}

// distrust quarantines; the entry is made once.
func (r *record) distrust(by, why string) *key.Entry {
	*r = r.quarantined(why)
	if r.Distrust != "" {
		return nil
	}
	r.Distrust = clean(why)
	return &key.Entry{What: key.EntryDistrusted, By: by, Why: why, Nonce: r.Seen, At: time.Now()}
}

// Distrust quarantines a key until an operator has acknowledged what the chain shows.
func (k *Keys) Distrust(ctx context.Context, id, by, why string) error {
	return k.change(ctx, "keys.distrust", id, func(r *record) (*key.Entry, error) { return r.distrust(by, why), nil })
}

// Acknowledge lets a key be used again.
func (k *Keys) Acknowledge(ctx context.Context, id string, chainNonce uint64, by, why string) error {
	refuse := func(format string, args ...any) error {
		return problem.New(key.ErrUnacknowledged.Kind, key.ErrUnacknowledged.Code, "the key %s stays as it is: %s", id, fmt.Sprintf(format, args...))
	}
	return k.change(ctx, "keys.acknowledge", id, func(r *record) (*key.Entry, error) {
		switch {
		case r.Distrust == "":
			return nil, refuse("it is trusted, so there is nothing to acknowledge")
		case r.Seen != chainNonce:
			return nil, refuse("the chain has spent %d of its nonces, and %d were acknowledged; find out what they were spent on", r.Seen, chainNonce)
		}
		*r = r.freed()
		r.Distrust, r.Nonce = "", max(r.Nonce, r.Seen)
		return &key.Entry{What: key.EntryAcknowledged, By: by, Why: why, Nonce: r.Seen, At: time.Now()}, nil
	})
}

// change reads a key and writes what change makes of it, with an entry when there is one, and again when another was faster. Then
// it is noted where decisions are made: before that nobody may rely on it.
func (k *Keys) change(ctx context.Context, name, id string, change func(*record) (*key.Entry, error)) error {
	err := k.update(ctx, name, func(ctx context.Context) error {
		for {
			old, err := k.read(ctx, id)
			if err != nil {
				return err
			}
			next := old.record
			entry, err := change(&next)
			if err != nil {
				return err
			}
			var beside []clientv3.Op
			if entry != nil {
				raw, err := json.Marshal(entry)
				if err != nil {
					return err
				}
				beside = []clientv3.Op{clientv3.OpPut(fmt.Sprintf("%s%s/%010d", k.entries, id, next.Entries), string(raw))}
				next.Entries++
			}
			if next == old.record {
				return nil
			}
			if _, won, err := k.swapWith(ctx, old, next, beside); err != nil || won {
				return err
			}
		}
	})
	if err == nil {
		err = k.note(ctx, id)
	}
	return err
}

// Entries reads what was done about the trust in a key.
func (k *Keys) Entries(ctx context.Context, id string) (list []key.Entry, err error) {
	if _, err := k.Get(ctx, id); err != nil {
		return nil, err
	}
	err = k.call(ctx, func(ctx context.Context) error {
		answer, err := k.client.Get(ctx, k.entries+id+"/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range answer.Kvs {
			var e key.Entry
			if err := json.Unmarshal(kv.Value, &e); err != nil {
				return problem.New(problem.Internal, "storage-corrupt", "%s in etcd at %s cannot be read: %w", kv.Key, k.where, err)
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

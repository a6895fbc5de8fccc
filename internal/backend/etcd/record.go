package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// record is a key as etcd stores it, in JSON. Fields may be added; older programs drop them when they write, so what an older
// program must not lose belongs elsewhere.
type record struct {
	Chain    string        `json:"chain"`
	Address  string        `json:"address"`
	Pool     string        `json:"pool,omitempty"`
	Status   key.Status    `json:"status"`
	Holder   string        `json:"holder,omitempty"`   // of the lease, or of the failed one
	Instance string        `json:"instance,omitempty"` // that granted the lease
	TTL      time.Duration `json:"ttl,omitempty"`      // of the lease, in nanoseconds
	Fence    uint64        `json:"fence,omitempty"`
	Used     int64         `json:"used,omitempty"` // when the newest lease began, in microseconds since 1970
	Nonce    uint64        `json:"nonce,omitempty"`
	Known    bool          `json:"known,omitempty"`
	Seen     uint64        `json:"seen,omitempty"` // the highest nonce that the chain ever showed
	Reason   string        `json:"reason,omitempty"`
	Distrust string        `json:"distrust,omitempty"` // why only an operator can free it
	Entries  int           `json:"entries,omitempty"`  // how many key.Entry there are of it
}

// row is a record at a revision of etcd. It is never changed: a later one takes its place.
type row struct {
	record
	id       string
	revision int64
	seen     time.Time // since when this process knows the lease, by its own clock
}

func (r record) encode() (string, error) {
	raw, err := json.Marshal(r)
	return string(raw), err
}

func (s *server) parse(kv *mvccpb.KeyValue) (*row, error) {
	r := &row{id: strings.TrimPrefix(string(kv.Key), s.keys), revision: kv.ModRevision, seen: time.Now()}
	if err := json.Unmarshal(kv.Value, &r.record); err != nil {
		return nil, problem.New(problem.Internal, "storage-corrupt", "the key %s in etcd at %s cannot be read: %w; something else has written below %s", r.id, s.where, err, s.keys)
	}
	return r, nil
}

func (r *row) key() key.Key {
	k := key.Key{ID: r.id, Chain: r.Chain, Address: r.Address, Pool: r.Pool, Status: r.Status, Holder: r.Holder,
		Fence: r.Fence, Nonce: r.Nonce, Known: r.Known, Reason: r.Reason}
	if r.Used != 0 {
		k.LastUsed = time.UnixMicro(r.Used)
	}
	return k
}

func (r *row) leasedTo(l key.Lease) bool {
	return r.Status == key.Leased && r.Fence == l.Fence && r.Holder == clean(l.Holder)
}

// leased is the record under its next lease.
func (r record) leased(q key.Request, instance string, used int64) record {
	r.Status, r.Holder, r.Instance, r.TTL = key.Leased, clean(q.Holder), instance, q.TTL
	r.Fence++
	r.Used = used
	return r
}

func (r record) freed() record {
	r.Status, r.Holder, r.Instance, r.TTL, r.Reason = key.Free, "", "", 0, ""
	return r
}

// quarantined keeps the holder on record (I10).
func (r record) quarantined(reason string) record {
	r.Status, r.Instance, r.TTL, r.Reason = key.Quarantined, "", 0, clean(reason)
	return r
}

// clean is text as JSON gives it back.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// swap replaces a record if it is still the same and the conditions hold, with further writes beside it. It gives what is there
// afterwards, nil for nothing; unchanged, when only the conditions did not hold.
func (k *Keys) swap(ctx context.Context, old *row, next record, conditions ...clientv3.Cmp) (now *row, won bool, err error) {
	return k.swapWith(ctx, old, next, nil, conditions...)
}

func (k *Keys) swapWith(ctx context.Context, old *row, next record, beside []clientv3.Op, conditions ...clientv3.Cmp) (now *row, won bool, err error) {
	text, err := next.encode()
	if err != nil {
		return nil, false, fmt.Errorf("encode the key %s: %w", old.id, err)
	}
	name := k.keys + old.id
	outcome := k.commit(ctx, &write{name: name, revision: old.revision, conditions: conditions, ops: append(beside, clientv3.OpPut(name, text))})
	if outcome.err != nil {
		return nil, false, outcome.err
	}
	if outcome.won {
		now = &row{record: next, id: old.id, revision: outcome.revision, seen: time.Now()}
		k.show(now)
		return now, true, nil
	}
	found := outcome.now.Kvs
	if len(found) == 0 {
		return nil, false, nil
	}
	if now, err = k.parse(found[0]); err != nil {
		return nil, false, err
	}
	return k.show(now), false, nil
}

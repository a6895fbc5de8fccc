package relay

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/lifecycle"
)

// Unsigned is the source of requests to sign.
//
// What was relayed and is not answered after a while is relayed again, some at a time and in turn, so that none waits behind others
// that stay unanswered (I18): its record may be lost with its topic, or its worker may have left it because a key or a node was not
// to be had.
type Unsigned struct {
	Requests signer.Requests
	Again    time.Duration // how long a request waits before it is relayed again; 0 means defaultAgain

	looked time.Time // when that was last looked for; used by one reader alone
	turn   int64     // up to where it was; the next look goes on from there
}

// How the table is looked at.
const (
	tail         = 10 * time.Millisecond // between two looks at what is new
	defaultAgain = 20 * time.Second
	mostAgain    = 1000 // requests relayed again at once
)

// Name is the cursor's.
func (u *Unsigned) Name() string { return bus.Unsigned }

// Read gives what is new; or, when there is nothing new or it is time for it, what has waited for long.
func (u *Unsigned) Read(ctx context.Context, after int64, limit int) (Batch, error) {
	if u.Again == 0 {
		u.Again = defaultAgain
	}
	if time.Since(u.looked) > u.Again/4 {
		u.looked = time.Now()
		if old, err := u.overdue(ctx, after); err != nil || len(old.Records) > 0 {
			return old, err
		}
	}
	list, err := u.Requests.List(ctx, after, limit)
	if err == nil && len(list) == 0 {
		err = lifecycle.Sleep(ctx, tail)
	}
	if err != nil || len(list) == 0 {
		return Batch{}, err
	}
	return batchOf(list, list[len(list)-1].Seq)
}

// overdue gives some of those that were relayed and have waited for so long.
func (u *Unsigned) overdue(ctx context.Context, after int64) (Batch, error) {
	list, err := u.Requests.List(ctx, u.turn, mostAgain)
	if err != nil {
		return Batch{}, err
	}
	n := 0
	for n < len(list) && list[n].Seq <= after && time.Since(list[n].At) > u.Again {
		n++
	}
	if u.turn = 0; n == mostAgain {
		u.turn = list[n-1].Seq
	}
	return batchOf(list[:n], after)
}

func batchOf(list []signer.Open, seq int64) (Batch, error) {
	batch := Batch{Records: make([]bus.Record, len(list)), Seq: seq}
	for i, o := range list {
		record, err := signer.UnsignedRecord(o)
		if err != nil {
			return batch, err
		}
		batch.Records[i] = record
	}
	if len(list) > 0 {
		batch.Oldest = list[0].At
	}
	return batch, nil
}

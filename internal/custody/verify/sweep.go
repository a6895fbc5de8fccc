package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/transaction"
)

const (
	// patience is how long stored bytes may take to come by the topic. An alarm follows within 60 s (I15).
	patience = 30 * time.Second
	// history is how far back the first sweep looks; what is older is Compare's.
	history = 24 * time.Hour
	// slack is for transactions that have taken their time before they committed late.
	slack = time.Minute
)

// Sweep judges what is stored and was judged by nobody, so that bytes which never came by the topic are judged too. It goes on
// from where the last sweep of this Verifier ended.
func (v *Verifier) Sweep(ctx context.Context) error {
	began := time.Now()
	oldest, youngest, late := v.window(began)
	for {
		some, err := v.Verdicts.Unjudged(ctx, oldest, youngest, page)
		if err != nil {
			return fmt.Errorf("look for what was stored and not verified: %w", err)
		}
		if err := v.sweep(ctx, some, late); err != nil {
			return err
		}
		if len(some) < page {
			break
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.swept = began.Add(-youngest)
	return nil
}

// window is what a sweep looks at, by age; late says that what it finds should have come by the topic. Without signing workers
// nothing comes by a topic, and nothing is missed there.
func (v *Verifier) window(now time.Time) (oldest, youngest time.Duration, late bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	oldest = history
	if !v.swept.IsZero() {
		oldest = now.Sub(v.swept) + slack
	}
	return oldest, v.options.Patience, v.options.Topic && now.Sub(v.behind) >= v.options.Patience
}

func (v *Verifier) sweep(ctx context.Context, some []Stored, late bool) error {
	seen := make([]Seen, len(some))
	for i, s := range some {
		seen[i] = s.Seen
	}
	verdicts, err := v.Judge(ctx, seen)
	if err != nil {
		return err
	}
	for i := range verdicts {
		if verdicts[i].Word != Unreadable && verdicts[i].Hash != some[i].Hash {
			verdicts[i] = verdicts[i].found(Altered, "the bytes that are stored with this hash have the hash %s", verdicts[i].Hash)
		}
		verdicts[i].Hash, verdicts[i].Source = some[i].Hash, FromRecord
	}
	fresh, err := v.Record(ctx, verdicts)
	if err != nil || !late {
		return err
	}
	for _, one := range fresh {
		if one.Attempt == 0 && one.Word == Good && !transaction.Filled(one.Step) { // a lane's keeper signs what fills a nonce
			v.tell(ctx, one.found(Unseen, "it was stored and did not come by the topic of signed transactions within %s", v.options.Patience))
		}
	}
	return nil
}

// every is how often Watch sweeps.
const every = 5 * time.Second

// Watch sweeps until ctx ends. What fails is logged and tried again.
func (v *Verifier) Watch(ctx context.Context) error {
	for lifecycle.Sleep(ctx, every) == nil {
		if err := v.Sweep(ctx); err != nil && ctx.Err() == nil {
			v.options.Log.WarnContext(ctx, "what is stored could not be verified; tried again", "error", err)
		}
	}
	return nil
}

package transaction

import (
	"context"
	"maps"
	"sync"

	"github.com/avalhq/aval/internal/custody/signer"
)

// index tells where the transactions of steps are that this process remembers. It is shared by all lanes.
type index struct {
	mu sync.Mutex
	at map[signer.Step]place
}

type place struct {
	lane  *lane
	nonce uint64
}

func (x *index) put(step signer.Step, at place) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at[step] = at
}

func (x *index) drop(step signer.Step) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.at, step)
}

func (x *index) find(step signer.Step) (at place, known bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, known = x.at[step]
	return at, known
}

// Signed tells of decisions whose bytes are stored, so that Offer need not read them. It counts for lanes that this process keeps:
// of others it does not know what has become of their transactions.
func (k *Keeper) Signed(decisions []signer.Decision) {
	for _, d := range decisions {
		if l := k.lane(d.Key); len(d.Signed.Raw) > 0 && l.keeps() {
			l.remember(Transaction{Step: d.Step, Key: d.Key, Nonce: d.Nonce, Attempts: []Attempt{{Kind: First, Tx: d.Tx, Signed: d.Signed}}})
		}
	}
}

// Find gives the transactions of those steps that were decided, as far as they are recorded. Who keeps the lanes answers from
// memory, but of what is unknown: nobody else records what becomes of the others, and of that an operator may have, in another process.
func (k *Keeper) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]Transaction, error) {
	found := make(map[signer.Step]Transaction, len(steps))
	leads := k.options.Seat.Had()
	var rest []signer.Step
	for _, step := range steps {
		if at, known := k.index.find(step); known && leads {
			if t, recorded := at.lane.recorded(at.nonce); recorded {
				found[step] = t
				continue
			}
		}
		rest = append(rest, step)
	}
	if len(rest) == 0 {
		return found, nil
	}
	stored, err := k.Store.Find(ctx, rest)
	maps.Copy(found, stored)
	return found, err
}

// keep notes whether this process keeps the lane at this look.
func (l *lane) keep(kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept, l.others = kept, !kept
}

// abandon is for who keeps no lane any more: from here on the store alone knows what becomes of their transactions.
func (k *Keeper) abandon() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.lanes {
		l.keep(false)
	}
}

func (l *lane) keeps() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

// recorded is what is stored of a transaction, as this process knows it from keeping the lane. It waits for what is just being stored.
func (l *lane) recorded(nonce uint64) (t Transaction, known bool) {
	l.recording.RLock()
	defer l.recording.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.open[nonce]; o != nil && l.kept && o.Fate.Status != Unknown {
		return o.Transaction, true
	}
	return t, false
}

// ready says whether bytes of a transaction are known that can be sent.
func (l *lane) ready(nonce uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.open[nonce]
	return o != nil && o.sealed() > 0
}

// sealed is how many of the attempts have bytes.
func (t *Transaction) sealed() (n int) {
	for i := range t.Attempts {
		if len(t.Attempts[i].Signed.Raw) > 0 {
			n++
		}
	}
	return n
}

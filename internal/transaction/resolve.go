package transaction

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Verdict is what an operator has found out elsewhere about a nonce that the chain has spent, when no node keeps what on.
type Verdict struct {
	Hash     string // of the attempt that has spent it; "": a transaction that Aval did not decide
	Block    uint64 // that holds the attempt
	Reverted bool   // it was undone there
}

// Resolve records what an operator says of an unknown transaction, also when it is settled: from then on it is confirmed, or lost,
// as if the chain had told. It signs and sends nothing. What a node can tell is held against the verdict, at the least that
// there is such a block; what another process has recorded while the nodes were asked stays. Refusals: transaction-known,
// verdict-refused, those of the chain.
func (d *Desk) Resolve(ctx context.Context, id ID, v Verdict, by, why string) (Report, error) {
	k := d.Keeper
	l := k.lane(id.Key)
	l.turn.Lock() // what the keeper does to the lane is done before or after
	defer l.turn.Unlock()
	info, t, err := d.read(ctx, id)
	if err != nil {
		return Report{}, err
	}
	if t.Fate.Status != Unknown {
		return Report{}, problem.New(ErrKnown.Kind, ErrKnown.Code, "nonce %d of the key %s is no transaction that nobody knows the outcome of: it is %s; aval tx why %s says more", id.Nonce, id.Key, t.Status(), id)
	}
	fate, err := d.hear(ctx, info, t, v)
	if err != nil {
		return Report{}, err
	}
	e := Event{Nonce: id.Nonce, What: EventResolved, By: by, Why: why, At: time.Now()}
	ended, err := k.record(ctx, l, info, Marks{Fates: map[uint64]Fate{id.Nonce: fate}, Events: []Event{e}, Unknown: true})
	if err != nil {
		return Report{}, err
	}
	k.tell(ctx, info, e)
	if len(ended) > 0 && k.options.Observe.End != nil {
		k.options.Observe.End(ended)
	}
	return d.Show(ctx, id)
}

// hear holds a verdict against what the chain still tells, and gives the fate that it means.
func (d *Desk) hear(ctx context.Context, info Lane, t Transaction, v Verdict) (Fate, error) {
	o := Open{Transaction: t}
	view, err := d.view(ctx, info, o)
	if err != nil {
		return Fate{}, err
	}
	if view.Nonce <= t.Nonce {
		return Fate{}, v.refuse(t, "a reorganisation has freed the nonce, and the chain has not spent it any more")
	}
	use := o.use(info.Address)
	number := slices.IndexFunc(t.Attempts, func(a Attempt) bool { return v.Hash != "" && strings.EqualFold(a.Signed.Hash, v.Hash) })
	if number >= 0 {
		use.Seen = chain.Sighting{Hash: t.Attempts[number].Signed.Hash, Block: v.Block}
	}
	trace, err := d.Keeper.Follower.Trace(ctx, use)
	if err != nil {
		return Fate{}, err
	}
	return v.Judge(t, number, trace, view.Confirmed)
}

// Judge is the fate that a verdict means: attempt is the number of the one that it names, -1 for none; trace is what the chain still
// tells, and confirmed the newest block that is deep enough.
func (v Verdict) Judge(t Transaction, attempt int, trace chain.Trace, confirmed uint64) (Fate, error) {
	place := trace.Status
	switch {
	case attempt < 0 && v.Hash != "":
		return Fate{}, v.refuse(t, v.Hash+" is none of the transactions that Aval has decided for it; say so (foreign) if it was spent on that")
	case trace.Known && trace.Hash == "" && attempt >= 0:
		return Fate{}, v.refuse(t, "the chain shows that it was spent on nothing that Aval has decided")
	case trace.Known && trace.Hash != "" && (attempt < 0 || trace.Hash != t.Attempts[attempt].Signed.Hash):
		return Fate{}, v.refuse(t, fmt.Sprintf("the chain shows that it was spent on %s, in block %d", trace.Hash, place.Block))
	case attempt < 0:
		return Fate{Status: Lost, Sent: t.Fate.Sent}, nil
	case !trace.Known:
		return Fate{}, v.refuse(t, fmt.Sprintf("no node shows that block %d can hold it", v.Block))
	case place.Block != v.Block || trace.Ended && place.Success == v.Reverted:
		return Fate{}, v.refuse(t, fmt.Sprintf("the chain shows it in block %d, where it %s", place.Block, ending(place)))
	case place.Block > confirmed:
		return Fate{}, v.refuse(t, fmt.Sprintf("block %d is not deep enough yet; block %d is", place.Block, confirmed))
	}
	return Fate{
		Status: Confirmed, Sent: t.Fate.Sent, Attempt: attempt, Success: !v.Reverted, Block: place.Block, Hash: place.Hash, GasUsed: place.GasUsed, Fee: place.Fee,
	}, nil
}

func ending(s chain.Status) string {
	if s.Success {
		return "did what it was signed for"
	}
	return "reverted"
}

func (v Verdict) refuse(t Transaction, why string) error {
	return problem.New(problem.Conflict, "verdict-refused", "what became of nonce %d of the key %s is not recorded so: %s", t.Nonce, t.Key, why)
}

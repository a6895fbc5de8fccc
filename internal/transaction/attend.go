package transaction

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
)

// chunk is how many transactions are read at once.
const chunk = 512

// attend does one look at a lane: what is stored, what the chain shows, what follows from it.
func (k *Keeper) attend(ctx context.Context, l *lane, info Lane, v View) {
	info, err := k.foreign(ctx, l, info, &v)
	rules := l.see(info, &v, k.options.Rules)
	if err == nil {
		err = k.load(ctx, l, info, v, rules)
	}
	if err == nil {
		err = k.resurface(ctx, l, info, v)
	}
	if err == nil {
		err = k.study(ctx, l, info, v, rules)
	}
	if err != nil && ctx.Err() == nil {
		k.options.Log.WarnContext(ctx, "a lane could not be looked at", "key", info.Key, "chain", info.Chain, "address", info.Address, "error", err)
	}
}

// foreign counts the looks at which the chain is ahead of what was decided. The lane was read before the chain was asked, so what
// was decided since then is read first.
func (k *Keeper) foreign(ctx context.Context, l *lane, info Lane, v *View) (Lane, error) {
	if v.Nonce <= info.Next {
		l.ahead = 0
		return info, nil
	}
	lanes, err := k.Store.Lanes(ctx, info.Chain)
	for _, now := range lanes {
		if now.Key == info.Key {
			info = now
		}
	}
	if l.ahead++; v.Nonce <= info.Next {
		l.ahead = 0
	}
	v.Foreign = l.ahead
	return info, err
}

// watch is the look of a process that does not keep the lane: it takes note of how far the lane has come.
func (k *Keeper) watch(l *lane, info Lane, v View) {
	l.see(info, &v, k.options.Rules)
	l.forget(max(info.Settled, v.Nonce))
	if l.keeps() && k.options.Observe.Lane != nil {
		k.options.Observe.Lane(Sight{Lane: info}) // what it has told of the lane is over
	}
	l.keep(false)
}

// load reads what this process does not know yet of the lane's open transactions, as far as its window goes: all of them where
// another process has kept the lane until now.
func (k *Keeper) load(ctx context.Context, l *lane, info Lane, v View, rules Rules) error {
	end := min(info.Next, v.Nonce+rules.Window)
	from := l.lacking(end)
	if l.others {
		l.forget(math.MaxUint64)
		from = info.Settled
	}
	for from < end {
		some, err := k.Store.Range(ctx, info.Key, from, int(min(chunk, end-from)))
		if err != nil {
			return fmt.Errorf("read the transactions of the key %s from nonce %d: %w", info.Key, from, err)
		}
		if len(some) == 0 {
			break
		}
		l.remember(some...)
		from = some[len(some)-1].Nonce + 1
	}
	l.keep(true)
	return nil
}

// study asks the chain, plans and carries out. What is contradicted leads to a second look at once, at everything.
func (k *Keeper) study(ctx context.Context, l *lane, info Lane, v View, rules Rules) error {
	open := l.snapshot()
	var err error
	if v.Found, err = k.ask(ctx, Question(open, v, l.suspicion)); err != nil {
		return err
	}
	if !l.suspicion && Contradicts(open, v) {
		l.suspicion = true
		return k.study(ctx, l, info, v, rules)
	}
	if k.learns(ctx, l, info, open, v) {
		return k.study(ctx, l, info, v, rules)
	}
	l.suspicion = false
	Notice(open, v)
	for i := range open {
		noticed := open[i]
		l.change(noticed.Nonce, func(o *Open) {
			o.Noticed, o.Waiting, o.Looks, o.Missing, o.Freed = noticed.Noticed, noticed.Waiting, noticed.Looks, noticed.Missing, noticed.Freed
		})
	}
	if err := k.policies(ctx, l, open, v); err != nil {
		return err
	}
	acts, err := k.plan(ctx, info, open, &v, rules)
	if err != nil {
		return err
	}
	k.sight(info, open, v, rules)
	return k.carryOut(ctx, l, info, v, acts)
}

// learns reads again what the chain has spent on no attempt that this process knows, and says whether there were others: an
// operator, or the keeper before this one, may have decided them in another process.
func (k *Keeper) learns(ctx context.Context, l *lane, info Lane, open []Open, v View) (more bool) {
	for i := range open {
		t := &open[i]
		if missing(t, v) == 0 {
			continue
		}
		k.refresh(ctx, l, info, t.Nonce)
		l.change(t.Nonce, func(o *Open) { more = more || o.newerThan(t) })
	}
	return more
}

// newerThan says whether more is known of the attempts than before.
func (t *Open) newerThan(was *Open) bool {
	return len(t.Attempts) > len(was.Attempts) || t.Newest().Signed.Hash != was.Newest().Signed.Hash
}

// policies finds what the transactions may cost that were not mined at once; most are, and nobody asks.
func (k *Keeper) policies(ctx context.Context, l *lane, open []Open, v View) error {
	for i := range open {
		t := &open[i]
		if t.priced || t.Nonce < v.Nonce || t.Offered.At.IsZero() || t.Looks < 1 && t.Offered.Head+2 > v.Now.Head {
			continue
		}
		policy, err := k.options.Policy(ctx, t.Step)
		if err != nil {
			return fmt.Errorf("find what nonce %d of the key %s may cost: %w", t.Nonce, t.Key, err)
		}
		t.Policy, t.priced = policy, true
		l.change(t.Nonce, func(o *Open) { o.Policy, o.priced = policy, true })
	}
	return nil
}

// plan asks for the quotes that the plan wants, each once, until it wants no more.
func (k *Keeper) plan(ctx context.Context, info Lane, open []Open, v *View, rules Rules) ([]Act, error) {
	v.Quotes, v.Traces = map[int]chain.Quote{}, map[uint64]chain.Trace{}
	for {
		acts := Plan(info, open, *v, rules)
		known := len(v.Quotes) + len(v.Traces)
		for _, a := range acts {
			if err := k.inquire(ctx, info, open, v, a); err != nil {
				return nil, err
			}
		}
		if len(v.Quotes)+len(v.Traces) == known {
			return acts, nil
		}
	}
}

// inquire asks what an act wants to know, unless it is told already. Few nonces are traced at one look; the others come later.
func (k *Keeper) inquire(ctx context.Context, info Lane, open []Open, v *View, a Act) error {
	switch _, told := v.Quotes[a.Percent]; {
	case a.Do == Ask && !told:
		quote, err := k.Market.Quote(ctx, a.Percent)
		if err != nil {
			return fmt.Errorf("ask what a unit of gas costs: %w", err)
		}
		v.Quotes[a.Percent] = quote
	case a.Do == Trace && len(v.Traces) < traces:
		at := slices.IndexFunc(open, func(t Open) bool { return t.Nonce == a.Nonce })
		trace, err := k.Follower.Trace(ctx, open[at].use(info.Address))
		if err != nil {
			return fmt.Errorf("find out what nonce %d of the key %s was spent on: %w", a.Nonce, info.Key, err)
		}
		v.Learn(open, &open[at], trace)
	}
	return nil
}

// traces is how many nonces of a lane are traced at one look: each takes as many questions as the chain's length has binary digits.
const traces = 8

// use is what a trace of the transaction's nonce begins with.
func (t *Open) use(address string) chain.Use {
	u := chain.Use{Address: address, Nonce: t.Nonce}
	for _, a := range t.Attempts {
		if a.Signed.Hash != "" {
			u.Hashes = append(u.Hashes, a.Signed.Hash)
		}
	}
	if a, mined := t.Ended(); mined {
		u.Seen = chain.Sighting{Hash: a.Signed.Hash, Block: t.Fate.Block, BlockHash: t.Fate.Hash}
	}
	return u
}

func (k *Keeper) ask(ctx context.Context, hashes []string) (map[string]chain.Status, error) {
	found := make(map[string]chain.Status, len(hashes))
	if len(hashes) == 0 {
		return found, nil
	}
	statuses, err := k.Network.Status(ctx, hashes)
	if err != nil {
		return nil, err
	}
	for i, hash := range hashes {
		found[hash] = statuses[i]
	}
	return found, nil
}

// sight tells the observer of the lane in numbers.
func (k *Keeper) sight(info Lane, open []Open, v View, rules Rules) {
	if k.options.Observe.Lane == nil {
		return
	}
	s := Sight{Lane: info, Window: rules.Window}
	missing := false
	for i := range open {
		t := &open[i]
		if t.Fate.Spent() || t.Nonce < v.Nonce {
			continue
		}
		if s.Open == 0 {
			s.Oldest = v.Now.At.Sub(t.Noticed.At)
			missing = t.Offered.At.IsZero()
		}
		s.Gap = s.Gap || missing && !t.Offered.At.IsZero()
		s.Open++
	}
	k.options.Observe.Lane(s)
}

// carryOut does what was planned: first it sets the key aside, or what is given up could count as acknowledged; then what is only to
// be written down, in one commit; then what goes to the node. What fails is found again at the next look.
func (k *Keeper) carryOut(ctx context.Context, l *lane, info Lane, v View, acts []Act) error {
	if at := slices.IndexFunc(acts, func(a Act) bool { return a.Do == Halt }); at >= 0 {
		if err := k.halt(ctx, info, v, acts[at].Why); err != nil {
			return fmt.Errorf("set the key %s aside: %w", info.Key, err)
		}
	}
	if err := k.mark(ctx, l, info, v, acts); err != nil {
		return err
	}
	var sending []Act
	for _, a := range acts {
		switch a.Do {
		case Send:
			sending = append(sending, a)
		case Sign:
			k.report(ctx, info, a, k.sign(ctx, l, info, a))
		case Replace:
			k.report(ctx, info, a, k.replace(ctx, l, info, v, a))
		case Ask, Trace, Record, Settle, Halt: // done before
		}
	}
	k.send(ctx, l, sending)
	return ctx.Err()
}

// report logs an act that failed; it is planned again.
func (k *Keeper) report(ctx context.Context, info Lane, a Act, err error) {
	if err != nil && ctx.Err() == nil {
		k.options.Log.WarnContext(ctx, "a transaction could not be helped along; it is tried again", "act", a.Do, "key", info.Key, "nonce", a.Nonce, "why", a.Why, "error", err)
	}
}

// mark records fates and events, and forgets what is settled.
func (k *Keeper) mark(ctx context.Context, l *lane, info Lane, v View, acts []Act) error {
	m := Marks{Fates: map[uint64]Fate{}, Settled: info.Settled}
	for _, a := range acts {
		switch a.Do {
		case Record:
			m.Fates[a.Nonce] = a.Fate
		case Settle:
			m.Settled = a.Nonce
		case Ask, Trace, Sign, Send, Replace, Halt: // not to be written down but for their events
		}
		if a.Event != "" {
			m.Events = append(m.Events, Event{Nonce: a.Nonce, What: a.Event, By: ByKeeper, Why: a.Why, At: v.Now.At})
		}
	}
	if len(m.Fates) == 0 && len(m.Events) == 0 && m.Settled == info.Settled {
		return nil
	}
	ended, err := k.record(ctx, l, info, m)
	if err != nil {
		return err
	}
	if len(ended) > 0 && k.options.Observe.End != nil {
		k.options.Observe.End(ended)
	}
	for _, e := range m.Events {
		l.change(e.Nonce, func(o *Open) { o.Capped = o.Capped || e.What == EventUnpayable })
		k.tell(ctx, info, e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info.Settled = m.Settled
	l.drop(m.Settled)
	return nil
}

// record writes marks down and takes them over; nobody is answered from memory in between. After an error the store alone knows.
func (k *Keeper) record(ctx context.Context, l *lane, info Lane, m Marks) (ended []signer.Step, err error) {
	l.recording.Lock()
	defer l.recording.Unlock()
	if err := k.Store.Mark(ctx, info.Key, m); err != nil {
		l.keep(false)
		return nil, fmt.Errorf("record what became of the transactions of the key %s: %w", info.Key, err)
	}
	return k.fates(l, info, m.Fates), nil
}

// fates takes over what is recorded now, and gives the steps that somebody may wait for.
func (k *Keeper) fates(l *lane, info Lane, fates map[uint64]Fate) (ended []signer.Step) {
	for nonce, fate := range fates {
		paid := false
		l.change(nonce, func(o *Open) {
			moved := o.Fate.Status != fate.Status
			paid = moved && fate.Status == Confirmed
			if paid || moved && fate.GivenUp() {
				ended = append(ended, o.Step)
			}
			o.Fate = fate
		})
		if paid && fate.Fee != nil && k.options.Observe.Paid != nil {
			k.options.Observe.Paid(info, fate.Fee)
		}
	}
	return ended
}

// tell logs an event and counts it.
func (k *Keeper) tell(ctx context.Context, info Lane, e Event) {
	log := k.options.Log.InfoContext
	if e.What == EventReversed || e.What == EventLost || e.What == EventUnknown || e.What == EventHalted {
		log = k.options.Log.ErrorContext
	}
	log(ctx, "transaction "+e.What, "key", info.Key, "chain", info.Chain, "address", info.Address, "nonce", e.Nonce, "by", e.By, "why", e.Why)
	if k.options.Observe.Act != nil {
		k.options.Observe.Act(e.What)
	}
}

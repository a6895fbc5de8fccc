package transaction

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/problem"
)

// ID names a transaction by its lane and nonce. It is written "key_…:7".
type ID struct {
	Key   string
	Nonce uint64
}

// String is the written form.
func (id ID) String() string { return fmt.Sprintf("%s:%d", id.Key, id.Nonce) }

// ParseID reads the written form: transaction-id-malformed otherwise.
func ParseID(text string) (ID, error) {
	key, digits, found := strings.Cut(text, ":")
	nonce, err := strconv.ParseUint(digits, 10, 63)
	if !found || err != nil || !strings.HasPrefix(key, "key_") {
		return ID{}, problem.New(problem.Invalid, "transaction-id-malformed", "a transaction is named by its key and nonce, as in key_01ab…:7")
	}
	return ID{key, nonce}, nil
}

// Desk is where operators ask about transactions and act on them. Its acts are those of the keeper, done now: they are
// committed before they are signed, recorded as events with the operator's name, and bound by the same rules (I6).
type Desk struct {
	Keeper    *Keeper
	Journal   Journal
	Contracts map[string]calldata.Contract // whose calls can be read, by address
}

// Query chooses transactions: of a message, with a hash, or open ones of a lane, or of all lanes.
type Query struct {
	Message message.ID
	Hash    string
	Key     string
	Limit   int // of open ones; 0 means 100
}

// List gives the transactions that fit, by lane and nonce. Open are those that are not settled.
func (d *Desk) List(ctx context.Context, q Query) ([]Report, error) {
	switch {
	case q.Hash != "":
		t, err := d.Journal.ByHash(ctx, q.Hash)
		if err != nil {
			return nil, err
		}
		return d.reports(ctx, t)
	case q.Message != "":
		all, err := d.Journal.ByMessage(ctx, q.Message)
		if err != nil {
			return nil, err
		}
		return d.reports(ctx, all...)
	}
	return d.open(ctx, q)
}

func (d *Desk) reports(ctx context.Context, found ...Transaction) ([]Report, error) {
	all := make([]Report, len(found))
	for i, t := range found {
		info, err := d.lane(ctx, t)
		if err != nil {
			return nil, err
		}
		all[i] = Report{Lane: info, Transaction: t}
	}
	return all, nil
}

// open walks the lanes that have something open.
func (d *Desk) open(ctx context.Context, q Query) (all []Report, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	lanes, err := d.Keeper.Store.Lanes(ctx, d.Keeper.Network.ID())
	if err != nil {
		return nil, err
	}
	for _, info := range lanes {
		if q.Key != "" && info.Key != q.Key || len(all) >= limit {
			continue
		}
		some, err := d.Keeper.Store.Range(ctx, info.Key, info.Settled, limit-len(all))
		if err != nil {
			return nil, err
		}
		for _, t := range some {
			if o := d.memory(t); !o.Offered.At.IsZero() && o.Refusal == "" {
				t.seen(o)
			}
			all = append(all, Report{Lane: info, Transaction: t})
		}
	}
	return all, nil
}

// read finds a transaction with its lane.
func (d *Desk) read(ctx context.Context, id ID) (info Lane, t Transaction, err error) {
	some, err := d.Keeper.Store.Range(ctx, id.Key, id.Nonce, 1)
	if err != nil {
		return info, t, err
	}
	if len(some) == 0 || some[0].Nonce != id.Nonce {
		return info, t, problem.New(ErrUnknown.Kind, ErrUnknown.Code, "nobody decided a transaction with nonce %d of the key %s", id.Nonce, id.Key)
	}
	info, err = d.lane(ctx, some[0])
	return info, some[0], err
}

// lane is that of a transaction. One that has nothing open is known by its transaction alone.
func (d *Desk) lane(ctx context.Context, t Transaction) (Lane, error) {
	lanes, err := d.Keeper.Store.Lanes(ctx, d.Keeper.Network.ID())
	for _, l := range lanes {
		if l.Key == t.Key {
			return l, err
		}
	}
	first := t.Attempts[0].Tx
	return Lane{Key: t.Key, Chain: first.Chain, Address: first.From, Settled: t.Nonce + 1}, err
}

// Show tells all about one transaction, and asks the chain.
func (d *Desk) Show(ctx context.Context, id ID) (Report, error) {
	info, t, err := d.read(ctx, id)
	if err != nil {
		return Report{}, err
	}
	r, o := Report{Lane: info, Transaction: t}, d.memory(t)
	first := t.Attempts[0].Tx
	if call, err := d.Contracts[first.To].Read(first.Data); err == nil {
		r.Call = &call
	}
	if r.Events, err = d.Journal.Events(ctx, id.Key, id.Nonce); err != nil {
		return r, err
	}
	if o.Policy, err = d.Keeper.options.Policy(ctx, t.Step); err != nil {
		return r, err
	}
	v, err := d.view(ctx, info, o)
	if known, _ := v.known(t.Attempts); known {
		r.Transaction.seen(o)
	}
	options := d.Keeper.options
	options.Rules = d.Keeper.lane(t.Key).rules(options.Rules)
	r.explain(v, o, options)
	if err != nil {
		r.Facts = append(r.Facts, "The chain could not be asked: "+problem.From(err).Detail+".")
	}
	return r, nil
}

// seen takes note that a node has it, which is recorded at a later look only.
func (t *Transaction) seen(o Open) {
	if t.Status() == Signed {
		t.Fate = Fate{Status: Sent, Sent: o.sent()}
	}
}

// memory is what the keeper remembers of a transaction.
func (d *Desk) memory(t Transaction) Open {
	o := Open{Transaction: t}
	d.Keeper.lane(t.Key).change(t.Nonce, func(known *Open) { o = *known })
	o.Transaction = t
	return o
}

// view asks the chain about one transaction.
func (d *Desk) view(ctx context.Context, info Lane, t Open) (v View, err error) {
	v.Now.At = time.Now()
	head, err := d.Keeper.Network.Head(ctx)
	if err != nil {
		return v, err
	}
	v.Now.Head = head
	if v.Confirmed, v.Final, err = d.Keeper.heights(ctx, head); err != nil {
		return v, err
	}
	nonces, told, err := d.Keeper.Follower.Nonces(ctx, []string{info.Address})
	if err != nil {
		return v, err
	}
	v.Nonce, v.Head = nonces[0], told
	var hashes []string
	for _, a := range t.Attempts {
		if a.Signed.Hash != "" {
			hashes = append(hashes, a.Signed.Hash)
		}
	}
	if v.Found, err = d.Keeper.ask(ctx, hashes); err != nil {
		return v, err
	}
	if !t.Fate.Spent() {
		if quote, err := d.Keeper.Market.Quote(ctx, t.Policy.Percentile); err == nil {
			v.Quotes = map[int]chain.Quote{t.Policy.Percentile: quote}
		}
	}
	return v, nil
}

// Bump decides a replacement that offers more, now: the same to, value and data, or no-op after no-op. Without a price it is
// what the chain asks at present, at least what nodes ask of a replacement, within the fee policy; a price given is the
// operator's own and knows no policy. Refusals: those of errors.go, fee-too-high, fee-budget-exceeded.
func (d *Desk) Bump(ctx context.Context, id ID, price *chain.Price, by, why string) (Report, error) {
	return d.replace(ctx, id, price, "", Attempt{By: by, Why: why})
}

// Cancel decides a no-op with the transaction's nonce, now. Whichever of them the chain mines decides what became of it: a
// cancellation can come too late.
func (d *Desk) Cancel(ctx context.Context, id ID, price *chain.Price, by, why string) (Report, error) {
	return d.replace(ctx, id, price, NoOp, Attempt{By: by, Why: why})
}

// replace decides, signs and sends one more attempt. kind "" is that of the newest.
func (d *Desk) replace(ctx context.Context, id ID, price *chain.Price, kind Kind, a Attempt) (Report, error) {
	k := d.Keeper
	l := k.lane(id.Key)
	l.turn.Lock() // what the keeper does to the lane is done before or after
	defer l.turn.Unlock()
	info, t, err := d.read(ctx, id)
	if err != nil {
		return Report{}, err
	}
	switch {
	case info.Halted != "":
		return Report{}, problem.New(ErrHalted.Kind, ErrHalted.Code, "the key %s is set aside: %s", id.Key, info.Halted)
	case t.Fate.GivenUp():
		return Report{}, problem.New(ErrSettled.Kind, ErrSettled.Code, "nonce %d of the key %s is spent; nothing can replace its transaction", id.Nonce, id.Key)
	}
	l.remember(t)
	newest := t.Newest()
	a.Number, a.At, a.Tx, a.Kind = newest.Number+1, time.Now(), newest.Tx, kind
	if kind == "" {
		a.Kind = again(newest)
	}
	if a.Kind == NoOp && newest.Kind != NoOp {
		if a.Tx, err = k.noOp(ctx, newest.Tx); err != nil {
			return Report{}, err
		}
	}
	if price == nil {
		raised, err := d.price(ctx, t.Step, newest, a)
		if err != nil {
			return Report{}, err
		}
		price = &raised
	} else if newest.Tx.Legacy {
		price = &chain.Price{Fee: price.Fee, Legacy: true}
	}
	a.Tx = a.Tx.Priced(*price)
	if err := k.add(ctx, l, info, t, a); err != nil {
		return Report{}, err
	}
	return d.Show(ctx, id)
}

// price is what the fee policy allows for a replacement.
func (d *Desk) price(ctx context.Context, step signer.Step, newest, a Attempt) (chain.Price, error) {
	policy, err := d.Keeper.options.Policy(ctx, step)
	if err != nil {
		return chain.Price{}, err
	}
	quote, err := d.Keeper.Market.Quote(ctx, policy.Percentile)
	if err != nil {
		return chain.Price{}, err
	}
	if a.Kind == NoOp {
		policy.Budget = nil
	}
	return policy.Raise(newest.Tx.Price(), quote, a.Tx.Gas)
}

// Resend gives the node the stored bytes of the newest attempt once more, and records who wanted it.
func (d *Desk) Resend(ctx context.Context, id ID, by string) (Report, error) {
	info, t, err := d.read(ctx, id)
	if err != nil {
		return Report{}, err
	}
	raw := t.Newest().Signed.Raw
	switch {
	case t.Fate.Spent() || t.Fate.GivenUp():
		return Report{}, problem.New(ErrSettled.Kind, ErrSettled.Code, "nonce %d of the key %s is spent; there is nothing to send again", id.Nonce, id.Key)
	case info.Halted != "":
		return Report{}, problem.New(ErrHalted.Kind, ErrHalted.Code, "the key %s is set aside: %s", id.Key, info.Halted)
	case len(raw) == 0:
		return Report{}, problem.New(problem.Conflict, "transaction-unsigned", "nonce %d of the key %s has no bytes yet; the keeper signs it", id.Nonce, id.Key)
	}
	if err := d.Keeper.Network.Send(ctx, [][]byte{raw})[0]; err != nil {
		return Report{}, fmt.Errorf("send nonce %d of the key %s again: %w", id.Nonce, id.Key, err)
	}
	sent := Event{Nonce: id.Nonce, What: EventResent, By: by, Why: "its stored bytes were sent again", At: time.Now()}
	if err := d.Keeper.Store.Mark(ctx, id.Key, Marks{Events: []Event{sent}}); err != nil {
		return Report{}, err
	}
	d.Keeper.tell(ctx, info, sent)
	return d.Show(ctx, id)
}

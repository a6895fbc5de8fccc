package transaction

import (
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/chain"
)

// Moment is a point in a chain's life and on the clock.
type Moment struct {
	Head uint64
	At   time.Time
}

// Open is a transaction that is not settled, with what this process remembers of it. What is lost with the process costs time
// alone: bytes that it does not know to be with a node are sent again.
type Open struct {
	Transaction
	Noticed Moment // when the keeper first saw it
	Offered Moment // when its newest bytes were given to the node; zero: not by this process
	Waiting Moment // since when nothing below it is in its way; zero: something is, or it was not offered
	Missing int    // looks in a row at which the chain had spent its nonce and no node had any of its attempts
	Freed   int    // looks in a row at which it was given up and the chain had not spent its nonce
	Refusal string // why the node says that it will never take the newest bytes; "" when it may
	Strikes int    // how often in a row it has said so
	Poor    bool   // the refusal is that the sender cannot pay
	Cheap   bool   // the node says that they offer too little at present
	Looks   int    // how many looks it has waited for
	Capped  bool   // that its fee policy forbids to offer more was recorded
	Held    bool   // its workflow has offered it, and the lane's window was full

	Policy chain.FeePolicy // what it may cost, and when it is too late
	priced bool            // Policy was looked up
}

// View is what the chain shows of a lane at one look.
type View struct {
	Now       Moment
	Nonce     uint64                  // how many of the lane's transactions are mined
	Since     Moment                  // of the look at which Nonce was told first
	Head      uint64                  // of who told Nonce: who has come so far knows of all of them
	Foreign   int                     // looks in a row, this one included, at which Nonce was above all that were decided
	Found     map[string]chain.Status // by hash: what was asked for at this look
	Confirmed uint64                  // the newest block whose transactions count as confirmed
	Final     uint64                  // the newest block that nobody expects to be reorganised
	Quotes    map[int]chain.Quote     // what the chain asks at present, by percentile: what was asked for
	Traces    map[uint64]chain.Trace  // by nonce: what was found out of nonces of which no receipt is left
}

// Rules are what Plan goes by besides what it is given of the lane.
type Rules struct {
	Window    uint64        // most transactions of a lane with the node at once, to begin with
	Widest    uint64        // what Window may grow to, by the node's answers
	Grace     time.Duration // what its workflow has not signed or sent after this long the keeper does
	Slow      time.Duration // counts as Patience where the chain makes no blocks
	Certainty int           // times that something final has to be seen before it is believed: one node can be wrong
}

// Do is a kind of act.
type Do string

// What can be done.
const (
	Sign    Do = "sign"    // sign the attempt that was decided and has no bytes
	Ask     Do = "ask"     // ask the chain for a quote, and plan again with it
	Trace   Do = "trace"   // find out what the nonce was spent on, and plan again with it
	Send    Do = "send"    // give the attempt's stored bytes to the node
	Replace Do = "replace" // decide, sign and send one more attempt
	Record  Do = "record"  // write the fate down
	Settle  Do = "settle"  // all below the nonce are final
	Halt    Do = "halt"    // the chain has spent nonces that Aval did not decide: stop using the key
)

// Act is one thing to do about a nonce.
type Act struct {
	Do      Do
	Nonce   uint64
	Attempt int         // Sign, Send: its number
	Kind    Kind        // Replace
	Price   chain.Price // Replace
	Percent int         // Ask: the percentile of the transaction's fee policy
	Fate    Fate        // Record
	Event   string      // Record, Send, Halt: what to put into the lane's events; "" for none
	Why     string      // for operators
}

// Plan says what to do on a lane, given its open transactions in the order of their nonces. The rules, in the order in which
// they are asked of each transaction; the first that fits acts:
//
//	the chain has spent more nonces than were decided         halt the key: somebody else uses it (A16)
//	its nonce is spent, an attempt is mined                   record which; confirmed when the block is deep enough (I14)
//	its nonce is spent, no node has any, look after look      trace it. It went to something else: lost; nobody can tell: unknown. Halt the key
//	recorded as mined, and the chain says otherwise           trace it, take it back; go on as if it had never been mined (I14)
//	given up, and the chain has not spent its nonce any more  follow it again, look after look
//	beyond the window                                         wait
//	no bytes, for longer than the grace period                sign (I12)
//	bytes that this process has not sent, for as long         send (I13); at once where only the window has held them back
//	sent, and the node does not have it                       send the stored bytes again (I12, I13)
//	the node says again and again that it will never take it  fill the nonce with a no-op; where the sender cannot pay, when it has waited
//	older than its deadline                                   cancel it with a no-op
//	first of its lane, and not mined for the patience         raise the price (I6)
//	the same, passed over by a block and below the next's     raise the price at once: patience cannot help it
//	offers less than the next block asks, behind such a one   raise the price, too
//
// A halted lane is only watched. What is confirmed in a final block, with all before it, is settled.
func Plan(lane Lane, open []Open, v View, r Rules) []Act {
	p := planner{lane: lane, view: v, rules: r}
	if v.Nonce > lane.Next && lane.Halted == "" && v.Foreign >= r.Certainty {
		p.act(Act{Do: Halt, Nonce: lane.Next, Event: EventHalted, Why: fmt.Sprintf("the chain has spent %d nonces of %s, Aval decided %d", v.Nonce, lane.Address, lane.Next)})
	}
	for i := range open {
		t := &open[i]
		switch {
		case t.Nonce < v.Nonce && t.Fate.Status != Lost:
			p.spent(t)
		case t.Nonce < v.Nonce:
		case t.Fate.GivenUp():
			p.freed(t)
		case t.Fate.Spent():
			if p.takenBack(t) {
				p.pending(t)
			}
		default:
			p.pending(t)
		}
	}
	p.settle(open)
	return p.acts
}

type planner struct {
	lane  Lane
	view  View
	rules Rules
	acts  []Act
	stuck bool // the lane's next transaction to be mined has waited for too long
}

func (p *planner) act(a Act) { p.acts = append(p.acts, a) }

// mined finds the attempt that the chain holds; asked is false when this look did not ask for every one of them.
func (p *planner) mined(t *Open) (number int, s chain.Status, found, asked bool) {
	asked = true
	for _, a := range t.Attempts {
		if a.Signed.Hash == "" {
			continue
		}
		status, known := p.view.Found[a.Signed.Hash]
		asked = asked && known
		if known && status.State == chain.Mined {
			return a.Number, status, true, true
		}
	}
	return 0, s, false, asked
}

// spent is for a nonce that the chain counts as used.
func (p *planner) spent(t *Open) {
	number, s, found, asked := p.mined(t)
	trace, traced := p.view.Traces[t.Nonce]
	switch {
	case found:
		p.record(t, number, s)
	case !asked || !p.doubtful(t):
	case !traced:
		p.act(Act{Do: Trace, Nonce: t.Nonce})
	case t.Fate.Spent():
		p.takenBack(t) // what has the nonce now shows at the next looks
	case trace.Known && trace.Hash == "":
		p.giveUp(t, Lost, EventLost, fmt.Sprintf("the chain has spent nonce %d of %s, and on none of what Aval has decided for it", t.Nonce, p.lane.Address))
	case t.Fate.Status == Unknown:
	case trace.Known:
		p.giveUp(t, Unknown, EventUnknown, fmt.Sprintf("%s is in block %d, and no node keeps the receipt that tells how it ended", trace.Hash, trace.Status.Block))
	default:
		p.giveUp(t, Unknown, EventUnknown, fmt.Sprintf("the chain has spent nonce %d of %s, and no node keeps what it was spent on", t.Nonce, p.lane.Address))
	}
}

// doubtful says whether it is time to trace a nonce that is spent, and of which no receipt is told. What nobody could tell is traced
// again now and then.
func (p *planner) doubtful(t *Open) bool {
	switch {
	case t.Fate.Spent():
		return p.view.reaches(t.Fate.Block, t.Attempts)
	case t.Fate.Status == Unknown:
		return t.Missing > 0 && t.Missing%seldom == 0
	}
	return t.Missing >= p.rules.Certainty
}

// seldom is at each how many-th look something is asked that has been answered by "nobody knows".
const seldom = 64

// giveUp records that the chain has spent a nonce, and not on what Aval can tell. The key is set aside: somebody else may use it.
func (p *planner) giveUp(t *Open, as Status, event, why string) {
	p.act(Act{Do: Record, Nonce: t.Nonce, Fate: Fate{Status: as, Sent: t.Fate.Sent}, Event: event, Why: why})
	if p.lane.Halted == "" {
		p.act(Act{Do: Halt, Nonce: t.Nonce, Event: EventHalted, Why: why})
	}
}

// Learn takes note of what was found out about a nonce. A block that is canonical holds all that was recorded in it.
func (v *View) Learn(open []Open, t *Open, trace chain.Trace) {
	v.Traces[t.Nonce] = trace
	if trace.Ended {
		v.Found[trace.Hash] = trace.Status
	}
	for i := range open {
		a, mined := open[i].Ended()
		if f := open[i].Fate; mined && trace.Known && !trace.Ended && f.Hash == trace.Status.Hash {
			v.Found[a.Signed.Hash] = chain.Status{
				State: chain.Mined, Head: trace.Status.Head, Success: f.Success, Block: f.Block, Hash: f.Hash, GasUsed: f.GasUsed, Fee: f.Fee,
			}
		}
	}
}

// record notes a mined attempt, once as mined and once as confirmed; a look that says nothing new notes nothing.
func (p *planner) record(t *Open, number int, s chain.Status) {
	fate := Fate{
		Status: Mined, Sent: t.Fate.Sent, Attempt: number, Success: s.Success, Block: s.Block, Hash: s.Hash, GasUsed: s.GasUsed, Fee: s.Fee,
	}
	if fate.Sent.IsZero() {
		fate.Sent = t.Offered.At
	}
	if s.Block <= p.view.Confirmed {
		fate.Status = Confirmed
	}
	moved := t.Fate.Spent() && (t.Fate.Hash != s.Hash || t.Fate.Attempt != number)
	switch {
	case t.Fate.Status == Confirmed && moved && fate.Status == Mined:
		p.act(Act{Do: Record, Nonce: t.Nonce, Fate: fate, Event: EventReversed, Why: reorganised(t.Fate, fmt.Sprintf("it is in block %d now, which is not deep enough yet", s.Block))})
	case moved:
		p.act(Act{Do: Record, Nonce: t.Nonce, Fate: fate, Event: EventMoved, Why: reorganised(t.Fate, fmt.Sprintf("it is in block %d now", s.Block))})
	case t.Fate.Status == Confirmed || t.Fate.Status == fate.Status: // nothing new
	default:
		p.act(Act{Do: Record, Nonce: t.Nonce, Fate: fate})
	}
}

func reorganised(was Fate, now string) string {
	return fmt.Sprintf("a reorganisation took block %d (%s) away; %s", was.Block, was.Hash, now)
}

// reaches says whether whoever was asked for the attempts at this look has come as far as the block.
func (v View) reaches(block uint64, attempts []Attempt) bool {
	for _, a := range attempts {
		if s, asked := v.Found[a.Signed.Hash]; asked && s.Head < block {
			return false
		}
	}
	return true
}

// takenBack undoes what was recorded, when a node that has come as far as that block says that the transaction is not in a
// block. A node that lags behind says nothing.
func (p *planner) takenBack(t *Open) bool {
	_, _, found, asked := p.mined(t)
	if found || !asked || !p.view.reaches(t.Fate.Block, t.Attempts) {
		return false
	}
	event := EventUnmined
	if t.Fate.Status == Confirmed {
		event = EventReversed
	}
	p.act(Act{Do: Record, Nonce: t.Nonce, Fate: Fate{Status: Sent, Sent: t.Fate.Sent}, Event: event, Why: reorganised(t.Fate, "no block holds it")})
	return true
}

// freed is for a nonce that somebody else had spent, until a reorganisation took that away: what was decided for it can be mined
// after all, as its message waits until what is lost is settled.
func (p *planner) freed(t *Open) {
	if p.lane.Halted != "" || t.Freed < p.rules.Certainty {
		return
	}
	fate := Fate{Sent: t.Fate.Sent}
	if !fate.Sent.IsZero() {
		fate.Status = Sent
	}
	p.act(Act{Do: Record, Nonce: t.Nonce, Fate: fate, Event: EventUnmined, Why: "a reorganisation has freed its nonce, which somebody else had spent"})
}

// pending is for a nonce that the chain has not spent.
func (p *planner) pending(t *Open) {
	if p.lane.Halted != "" || t.Nonce >= p.view.Nonce+p.rules.Window {
		return
	}
	newest := t.Newest()
	overdue := p.view.Now.At.Sub(t.Noticed.At) >= p.rules.Grace
	switch {
	case len(newest.Signed.Raw) == 0:
		if overdue || newest.Number > 0 {
			p.act(Act{Do: Sign, Nonce: t.Nonce, Attempt: newest.Number})
		}
	case t.Offered.At.IsZero():
		if overdue || t.Held || t.Fate.Status == Sent || newest.Number > 0 {
			p.act(Act{Do: Send, Nonce: t.Nonce, Attempt: newest.Number})
		}
	default:
		p.offered(t, newest)
	}
}

// offered is for bytes that were given to the node.
func (p *planner) offered(t *Open, newest Attempt) {
	known, asked := p.view.known(t.Attempts)
	first := t.Nonce == p.view.Nonce
	waited := first && p.waited(t)
	p.stuck = p.stuck || waited || first && p.hopeless(t, newest)
	switch {
	case asked && known && t.Fate.Status == "":
		p.act(Act{Do: Record, Nonce: t.Nonce, Fate: Fate{Status: Sent, Sent: t.Offered.At}})
	case t.Strikes >= p.rules.Certainty && (!t.Poor || waited):
		p.replace(t, newest, NoOp, "the node will not take it: "+t.Refusal)
	case t.Policy.Deadline > 0 && !t.sent().IsZero() && p.view.Now.At.Sub(t.sent()) >= t.Policy.Deadline && newest.Kind != NoOp:
		p.replace(t, newest, NoOp, fmt.Sprintf("it was not mined within %s", t.Policy.Deadline))
	case waited && t.Refusal == "" && (known || t.Cheap):
		p.replace(t, newest, again(newest), fmt.Sprintf("it was the next of its lane and was not mined for %d blocks", p.view.Now.Head-t.Waiting.Head))
	case p.stuck && t.Refusal == "" && p.cheap(t, newest):
		p.replace(t, newest, again(newest), "it offers less than the next block asks")
	case asked && !known:
		p.act(Act{Do: Send, Nonce: t.Nonce, Attempt: newest.Number, Event: EventResent, Why: "the node did not have it; its stored bytes are sent again"})
	}
}

// again is the kind of what replaces an attempt for a higher price.
func again(newest Attempt) Kind {
	if newest.Kind == NoOp {
		return NoOp
	}
	return Raise
}

// sent is since when the transaction is known to be with a node.
func (t *Open) sent() time.Time {
	if !t.Fate.Sent.IsZero() {
		return t.Fate.Sent
	}
	return t.Offered.At
}

// known says whether the node has any of the attempts.
func (v View) known(attempts []Attempt) (known, asked bool) {
	for _, a := range attempts {
		s, found := v.Found[a.Signed.Hash]
		asked = asked || found
		known = known || found && s.State != chain.Unknown
	}
	return known, asked
}

// waited says whether nothing but its price has been in its way for the patience of its policy.
func (p *planner) waited(t *Open) bool {
	if t.Policy.Patience == 0 || t.Waiting.At.IsZero() || t.Looks < 2 {
		return false
	}
	blocks := p.view.Now.Head >= t.Waiting.Head+t.Policy.Patience
	return blocks || p.view.Now.At.Sub(t.Waiting.At) >= p.rules.Slow
}

// hopeless says whether a block has passed over what its lane waits for, and the next would not take it either. It asks for a
// quote to know.
func (p *planner) hopeless(t *Open, newest Attempt) bool {
	if t.Policy.Patience == 0 || t.Waiting.At.IsZero() || p.view.Now.Head <= t.Waiting.Head || t.Refusal != "" {
		return false
	}
	return p.cheap(t, newest)
}

// cheap says whether the next block would not take the attempt. It asks for a quote to know.
func (p *planner) cheap(t *Open, a Attempt) bool {
	q, told := p.quote(t)
	return told && q.below(a)
}

// below says whether the attempt offers less than the next block asks.
func (q quote) below(a Attempt) bool {
	return q.Least != nil && a.Tx.Fee != nil && a.Tx.Fee.Cmp(q.Least) < 0
}

// quote is what the chain asks of the transaction's kind. It asks for it where the look does not have it.
func (p *planner) quote(t *Open) (quote, bool) {
	q, told := p.view.Quotes[t.Policy.Percentile]
	if !told {
		p.act(Act{Do: Ask, Nonce: t.Nonce, Percent: t.Policy.Percentile})
	}
	return quote{q}, told
}

// quote is a chain's, for transactions of one fee policy.
type quote struct{ chain.Quote }

// replace decides about one more attempt, unless its policy forbids to pay more: that is recorded once, and what there is goes
// on being offered to a node that does not have it, as the chain can become cheaper.
func (p *planner) replace(t *Open, newest Attempt, kind Kind, why string) {
	q, told := p.quote(t)
	if !told {
		return
	}
	gas, policy := newest.Tx.Gas, t.Policy
	if kind == NoOp { // what it costs to free the lane is no part of the transaction's budget
		gas, policy.Budget = noOpGas, nil
	}
	price, err := policy.Raise(newest.Tx.Price(), q.Quote, gas)
	if err != nil {
		if !t.Capped {
			p.act(Act{Do: Record, Nonce: t.Nonce, Fate: t.Fate, Event: EventUnpayable, Why: why + "; but " + err.Error()})
		}
		if known, asked := p.view.known(t.Attempts); asked && !known {
			p.act(Act{Do: Send, Nonce: t.Nonce, Attempt: newest.Number})
		}
		return
	}
	p.act(Act{Do: Replace, Nonce: t.Nonce, Attempt: newest.Number + 1, Kind: kind, Price: price, Why: why})
}

// noOpGas is what a no-op uses on most chains; what it really needs the keeper finds out when it makes one.
const noOpGas = 21_000

// settle finds how far the lane is final: each transaction's block was seen to be canonical at this very look. What is lost is
// settled when an operator has let the key be used again, and with it the nonces that the chain has spent and nobody decided.
func (p *planner) settle(open []Open) {
	canonical := map[string]bool{}
	for _, s := range p.view.Found {
		if s.State == chain.Mined {
			canonical[s.Hash] = true
		}
	}
	trusted := p.lane.Halted == ""
	settled := p.lane.Settled
	undecided := func(until uint64) {
		for trusted && settled < until && settled < p.view.Nonce {
			settled++
		}
	}
	for i := range open {
		t := &open[i]
		undecided(t.Nonce)
		final := t.Fate.Status == Confirmed && t.Fate.Block <= p.view.Final && canonical[t.Fate.Hash]
		lost := t.Fate.GivenUp() && trusted && t.Nonce < p.view.Nonce
		if t.Nonce != settled || !final && !lost {
			break
		}
		settled++
	}
	if len(open) == 0 || open[len(open)-1].Nonce < settled {
		undecided(p.lane.Next)
	}
	if settled > p.lane.Settled {
		p.act(Act{Do: Settle, Nonce: settled})
	}
}

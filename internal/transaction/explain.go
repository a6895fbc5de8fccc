package transaction

import (
	"fmt"
	"math/big"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/message/calldata"
)

// Report is a transaction for operators. Show fills in all of it, List the first two fields.
type Report struct {
	Lane        Lane
	Transaction Transaction
	Events      []Event
	Call        *calldata.Call // what it calls by the ABI of its contract; nil where there is none
	Sentence    string         // why it is where it is
	Remedy      string         // what a person can do, when there is something to do
	Facts       []string       // what the chain says, asked just now
}

// explain says why a transaction is where it is.
func (r *Report) explain(v View, o Open, options Options) {
	t := r.Transaction
	switch {
	case t.Fate.Status == Unknown:
		r.Sentence = fmt.Sprintf("The chain has spent nonce %d, and no node keeps what on, or how that ended.", t.Nonce)
		r.Remedy = "Look the nonce up in an explorer of the chain and say what you find: aval tx resolve --help." // a settled one is not looked at again
		if !t.Settled {
			r.Remedy = "Add a node that keeps old receipts or old state to chain.url, and it is found out by itself. Or: " + r.Remedy
		}
	case t.Fate.Status == Lost:
		r.Sentence = fmt.Sprintf("The chain has spent nonce %d on a transaction that Aval did not decide.", t.Nonce)
		r.Remedy = r.trust()
		if r.Lane.Halted == "" {
			r.Remedy = r.resume()
		}
	case r.Lane.Halted != "" && !t.Fate.Spent():
		r.Sentence = "It waits because its key is set aside: " + r.Lane.Halted + "."
		r.Remedy = r.trust()
	case t.Fate.Status == Confirmed:
		r.ended(t, v, options)
	case t.Fate.Status == Mined:
		r.Sentence = options.mined(v, t.Fate.Block)
	case len(t.Newest().Signed.Raw) == 0 && Filled(t.Step):
		r.Sentence = "It fills a nonce that somebody else had spent, until a reorganisation freed it; the keeper signs it at one of the next heads."
	case len(t.Newest().Signed.Raw) == 0:
		r.Sentence = "It was decided and is not signed yet; the keeper signs what its workflow does not."
	case v.Now.Head > 0 && t.Nonce >= v.Nonce+options.Rules.Window:
		r.Sentence = fmt.Sprintf("It waits for its turn: %d transactions of its lane are before it, and %d may be with the node at once.", t.Nonce-v.Nonce, options.Rules.Window)
		r.Remedy = first(r.Lane.Key, v.Nonce)
	default:
		r.pending(o, v)
	}
	if at := len(r.Events) - 1; at >= 0 && r.Events[at].What == EventResolved {
		r.Facts = append(r.Facts, r.Events[at].By+" has said so, as no node keeps it: "+r.Events[at].Why)
		r.Remedy = r.resume()
	}
	r.chain(t, v)
}

// trust says how a key that is set aside is used again.
func (r *Report) trust() string {
	return "Where a worker has failed with the key: aval key release " + r.Lane.Key + ". Where somebody else uses it, find out who, then see aval key acknowledge --help."
}

// resume says how the message goes on that was held because of the transaction.
func (r *Report) resume() string {
	if Filled(r.Transaction.Step) {
		return ""
	}
	return fmt.Sprintf("If its message is still parked: aval message resume %s.", r.Transaction.Step.Message)
}

// ended is for one that is confirmed.
func (r *Report) ended(t Transaction, v View, options Options) {
	done := "did what it was signed for"
	switch a, _ := t.Ended(); {
	case Filled(t.Step):
		done = "fills a nonce that somebody else had spent, until a reorganisation freed it; no message belongs to it"
	case a.Kind == NoOp:
		done = "was cancelled: the no-op was mined"
	case !t.Fate.Success:
		done = "reverted"
	}
	r.Sentence = fmt.Sprintf("It is not pending: it %s, in block %d.", done, t.Fate.Block)
	if t.Nonce >= r.Lane.Settled && v.Now.Head > 0 {
		r.Facts = append(r.Facts, options.until(v, t.Fate.Block))
	}
}

// mined says how far a block is from counting as confirmed.
func (o Options) mined(v View, block uint64) string {
	if o.tagged() {
		return fmt.Sprintf("It is in block %d, %d deep, and waits until the chain calls it %s; block %d is.", block, depth(v, block), o.Finality, v.Confirmed)
	}
	return fmt.Sprintf("It is in block %d, %d of %d confirmations deep.", block, depth(v, block), o.Confirmations)
}

// until says how far a block is from being final.
func (o Options) until(v View, block uint64) string {
	if o.tagged() {
		return fmt.Sprintf("It is %d blocks deep, and final when the chain calls it finalized; block %d is.", depth(v, block), v.Final)
	}
	return fmt.Sprintf("It is %d blocks deep, and final from block %d on.", depth(v, block), block+max(o.FinalDepth, 1)-1)
}

// pending is for one that is signed and in no block.
func (r *Report) pending(o Open, v View) {
	switch {
	case o.Refusal != "":
		r.Sentence = "The node does not take it: " + o.Refusal + "."
		r.Remedy = "Give the address " + r.Lane.Address + " what it lacks, or aval tx cancel " + r.id() + "."
	case v.Now.Head > 0 && o.Nonce > v.Nonce:
		r.Sentence = fmt.Sprintf("It waits for the %d transactions of its lane that are before it.", o.Nonce-v.Nonce)
		r.Remedy = first(r.Lane.Key, v.Nonce)
	case r.cheap(o, v):
		r.Sentence = fmt.Sprintf("It offers %s wei for a unit of gas, and the next block asks %s.", o.Newest().Tx.Fee, v.Quotes[o.Policy.Percentile].Least)
		r.Remedy = r.bump(o)
	case o.Offered.At.IsZero() && o.Fate.Sent.IsZero():
		r.Sentence = "It is signed and is not known to be with a node; the keeper sends it at the next head."
	default:
		r.Sentence = fmt.Sprintf("It is the next of its lane, with the node for %s, and no block has taken it yet.", v.Now.At.Sub(o.sent()).Round(time.Second))
		r.Remedy = r.bump(o)
	}
}

func (r *Report) id() string { return ID{r.Lane.Key, r.Transaction.Nonce}.String() }

// cheap says whether the next block would not take it.
func (r *Report) cheap(o Open, v View) bool {
	return quote{v.Quotes[o.Policy.Percentile]}.below(o.Newest())
}

// bump says what happens by itself, and what can be done at once.
func (r *Report) bump(o Open) string {
	if o.Capped {
		return "Its fee policy forbids to offer more: raise chain.fees for its type, or aval tx bump " + r.id() + " --fee WEI."
	}
	if o.Policy.Patience > 0 {
		return fmt.Sprintf("The keeper offers more after %d blocks; at once: aval tx bump %s.", o.Policy.Patience, r.id())
	}
	return "To offer more: aval tx bump " + r.id() + "."
}

// first leads to the transaction that holds up the others.
func first(key string, nonce uint64) string {
	return "Look at the first of them: aval tx why " + ID{key, nonce}.String() + "."
}

// chain adds what the chain says of each attempt.
func (r *Report) chain(t Transaction, v View) {
	for _, a := range t.Attempts {
		s, asked := v.Found[a.Signed.Hash]
		if !asked {
			continue
		}
		what := "the node does not know it"
		switch {
		case s.State == chain.Pending:
			what = "the node has it, and no block holds it"
		case s.State == chain.Mined && s.Success:
			what = fmt.Sprintf("in block %d, %d deep", s.Block, s.Depth)
		case s.State == chain.Mined:
			what = fmt.Sprintf("in block %d, %d deep, where it reverted", s.Block, s.Depth)
		}
		r.Facts = append(r.Facts, fmt.Sprintf("Attempt %d (%s, %s wei for a unit of gas), %s: %s.", a.Number, a.Kind, fee(a), a.Signed.Hash, what))
	}
	if v.Now.Head > 0 {
		r.Facts = append(r.Facts, fmt.Sprintf("The head is block %d. The next nonce of %s is %d on the chain, and %d as far as decided.", v.Now.Head, r.Lane.Address, v.Nonce, r.Lane.Next))
	}
}

func fee(a Attempt) *big.Int {
	if a.Tx.Fee == nil {
		return new(big.Int)
	}
	return a.Tx.Fee
}

// depth counts a block and those on top of it.
func depth(v View, block uint64) uint64 {
	if v.Now.Head < block {
		return 0
	}
	return v.Now.Head - block + 1
}

package transaction

import (
	"fmt"
	"math/big"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/problem"
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

// Public is the report for those who are no operators: without the words of operators, and without what these can do.
func (r *Report) Public() string {
	switch t := r.Transaction; {
	case t.Fate.Spent() || t.Fate.GivenUp():
		return r.Sentence
	case r.Lane.Halted != "":
		return "It waits because its key is set aside."
	case t.Newest().Kind == NoOp && !Filled(t.Step):
		return "It is being cancelled by a no-op."
	}
	return r.Sentence
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
		switch {
		case r.Lane.Halted != "":
			r.Remedy = r.trust()
		case t.Settled:
			r.Remedy = r.resume()
		default:
			r.Sentence += " An operator has acknowledged it; it counts for good when all before it is final."
			r.Remedy = "Wait until then. " + r.resume()
		}
	case r.Lane.Halted != "" && !t.Fate.Spent():
		r.Sentence = "It waits because its key is set aside: " + r.Lane.Halted + "."
		r.Remedy = r.trust()
		if known, _ := v.known(t.Attempts); known {
			r.Sentence = "The node has it, and a block may still take it; nothing more is done for it, because its key is set aside: " + r.Lane.Halted + "."
		}
	case t.Fate.Status == Confirmed:
		r.ended(t, v, options)
	case t.Fate.Status == Mined:
		r.Sentence = options.mined(v, t.Fate.Block)
	case len(t.Newest().Signed.Raw) == 0 && Filled(t.Step):
		r.Sentence = "It fills a nonce that somebody else had spent, until a reorganisation freed it; the keeper signs it at one of the next heads."
	case len(t.Newest().Signed.Raw) == 0:
		r.Sentence = "It was decided and is not signed yet; the keeper signs what its workflow does not."
	case v.Now.Head > 0 && t.Nonce >= v.Nonce+options.Rules.Window:
		r.Sentence = fmt.Sprintf("It waits for its turn behind %s of its lane; %d may be with the node at once.", several(t.Nonce-v.Nonce, "transaction"), options.Rules.Window)
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
	switch {
	case v.Now.Head == 0:
		return fmt.Sprintf("It was seen in block %d.", block)
	case o.tagged():
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
	known, asked := v.known(o.Attempts)
	switch {
	case o.Refusal != "":
		r.Sentence = "The node does not take it: " + o.Refusal + "."
		r.Remedy = "Its nonce is filled with a no-op by itself; at once: aval tx cancel " + r.id() + "."
		if o.Poor {
			r.Remedy = "Give the address " + r.Lane.Address + " what it lacks, or aval tx cancel " + r.id() + "."
		}
	case !asked:
		r.Sentence = "It is signed" + since(", and was given to a node %s ago", o) + "; what the chain makes of it cannot be asked now."
		r.Remedy = "Bring the chain's nodes back; the keeper goes on by itself."
	case o.Nonce > v.Nonce:
		r.Sentence = fmt.Sprintf("It waits for %s of its lane before it.", several(o.Nonce-v.Nonce, "transaction"))
		r.Remedy = first(r.Lane.Key, v.Nonce)
	case r.cheap(o, v):
		r.Sentence = fmt.Sprintf("It offers %s wei for a unit of gas, and the next block asks %s.", o.Newest().Tx.Fee, v.Quotes[o.Policy.Percentile].Least)
		r.Remedy = r.bump(o, v, "as soon as a block has passed it over")
	case !known:
		r.Sentence = "It is signed, and the node does not have it; the keeper sends its stored bytes at one of the next heads."
		r.Remedy = "At once: aval tx resend " + r.id() + "."
	default:
		r.Sentence = "It is the next of its lane, with the node" + since(" for %s", o) + ", and no block has taken it yet."
		r.Remedy = r.bump(o, v, fmt.Sprintf("after %s", several(o.Policy.Patience, "block")))
	}
	if newest := o.Newest(); newest.Kind == NoOp && !Filled(o.Step) {
		r.Sentence = "It is being cancelled by a no-op: " + newest.Why + ". " + r.Sentence
	}
}

// since says how long a node has had it; nothing where this process does not know.
func since(format string, o Open) string {
	if o.sent().IsZero() {
		return ""
	}
	return fmt.Sprintf(format, time.Since(o.sent()).Round(time.Second))
}

// several counts things.
func several(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (r *Report) id() string { return ID{r.Lane.Key, r.Transaction.Nonce}.String() }

// cheap says whether the next block would not take it.
func (r *Report) cheap(o Open, v View) bool {
	return quote{v.Quotes[o.Policy.Percentile]}.below(o.Newest())
}

// bump says when more is offered by itself, and what can be done at once.
func (r *Report) bump(o Open, v View, when string) string {
	if _, err := o.Policy.Raise(o.Newest().Tx.Price(), v.Quotes[o.Policy.Percentile], o.Newest().Tx.Gas); err != nil {
		return "Its fee policy forbids to offer more: " + problem.From(err).Detail + ". Your own price knows no policy: aval tx bump " + r.id() + " --fee AMOUNT."
	}
	if o.Policy.Patience > 0 {
		return "The keeper offers more " + when + "; at once: aval tx bump " + r.id() + "."
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
		decided := "" // unknown of a lane with nothing open
		if r.Lane.Next > 0 {
			decided = fmt.Sprintf(", and %d as far as decided", r.Lane.Next)
		}
		r.Facts = append(r.Facts, fmt.Sprintf("The head is block %d. The next nonce of %s is %d on the chain%s.", v.Now.Head, r.Lane.Address, v.Nonce, decided))
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

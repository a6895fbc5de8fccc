package transaction_test

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/transaction"
)

// world is a chain with one node and one lane on it, as a model: the outside that Plan is held against.
type world struct {
	t      *rapid.T
	blocks []block // the canonical chain; its index is the height
	forks  int     // makes the hashes of blocks differ
	pool   map[uint64]transaction.Attempt
	base   int64 // least fee for the next block
	now    time.Time

	lane      transaction.Lane
	open      []transaction.Open
	settled   []transaction.Open
	bad       map[uint64]bool // the node never takes what is decided for these nonces
	events    map[string]int
	confirmed map[uint64]bool // recorded as confirmed and not taken back
	reversed  int             // how often the model took a recorded confirmation away
	suspicion bool
	unindexed bool // the node finds nothing that is mined by its hash
}

type block struct {
	hash  string
	mined map[uint64]transaction.Attempt
}

var rules = transaction.Rules{Window: 5, Grace: 3 * time.Second, Slow: time.Hour, Certainty: 3}

const (
	confirmations = 3
	finalDepth    = 8
)

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, pool: map[uint64]transaction.Attempt{}, base: 100, now: time.Unix(1_700_000_000, 0), bad: map[uint64]bool{},
		events: map[string]int{}, confirmed: map[uint64]bool{}, lane: transaction.Lane{Key: "key_a", Chain: "c", Address: "0xa", Next: 3, Settled: 3},
	}
	w.blocks = []block{{hash: "genesis"}}
	return w
}

// decide gives the lane one more transaction; a cheap one, one that the node never takes, or one whose workflow is stuck.
func (w *world) decide(fee int64, signed, offered, bad bool) {
	tx := chain.Unsigned{Chain: "c", From: "0xa", To: "0xb", Value: big.NewInt(int64(w.lane.Next)), Gas: 21_000, Fee: big.NewInt(fee), Tip: big.NewInt(1)}
	o := transaction.Open{Transaction: transaction.Transaction{Key: "key_a", Nonce: w.lane.Next, Attempts: []transaction.Attempt{{Kind: transaction.First, Tx: tx}}}}
	o.Policy = chain.FeePolicy{Patience: 3}
	w.bad[o.Nonce] = bad
	w.lane.Next++
	w.open = append(w.open, o)
	if signed {
		w.sign(&w.open[len(w.open)-1], 0)
		if offered {
			w.send(&w.open[len(w.open)-1], 0)
		}
	}
}

func (w *world) sign(o *transaction.Open, number int) {
	o.Attempts = slices.Clone(o.Attempts)
	o.Attempts[number].Signed = chain.Signed{Hash: fmt.Sprintf("0x%d.%d", o.Nonce, number), Raw: []byte{1}}
}

// send is what a node does: it refuses what it never takes, and what pays no tenth more than what waits.
func (w *world) send(o *transaction.Open, number int) {
	a := o.Attempts[number]
	o.Offered = transaction.Moment{Head: w.head(), At: w.now}
	if w.bad[o.Nonce] && a.Kind != transaction.NoOp {
		o.Refusal, o.Strikes = "intrinsic gas too low", o.Strikes+1
		return
	}
	o.Refusal, o.Strikes = "", 0
	if waiting, taken := w.pool[o.Nonce]; o.Nonce >= w.nonce() && (!taken || a.Tx.Price().Outbids(waiting.Tx.Price())) {
		w.pool[o.Nonce] = a
	}
}

func (w *world) head() uint64 { return uint64(len(w.blocks) - 1) }

// nonce is how many of the lane's are mined.
func (w *world) nonce() uint64 {
	n := uint64(3)
	for _, b := range w.blocks {
		n += uint64(len(b.mined))
	}
	return n
}

// mine makes a block of what waits, in the order of nonces, as far as it pays.
func (w *world) mine() {
	w.forks++
	b := block{hash: fmt.Sprint("block ", w.forks), mined: map[uint64]transaction.Attempt{}}
	for nonce := w.nonce(); ; nonce++ {
		a, waits := w.pool[nonce]
		if !waits || a.Tx.Fee.Cmp(big.NewInt(w.base)) < 0 || len(b.mined) == 3 {
			break
		}
		b.mined[nonce] = a
		delete(w.pool, nonce)
	}
	w.blocks = append(w.blocks, b)
}

// reorganise takes blocks away; what was in them waits again, or the node has forgotten it. Final blocks stay.
func (w *world) reorganise(depth int, forget bool) {
	depth = min(depth, len(w.blocks)-1, finalDepth-2)
	gone := w.blocks[len(w.blocks)-depth:]
	w.blocks = w.blocks[:len(w.blocks)-depth]
	for _, b := range gone {
		for nonce, a := range b.mined {
			if w.confirmed[nonce] {
				w.reversed++
				w.confirmed[nonce] = false
			}
			if !forget {
				w.pool[nonce] = a
			}
		}
	}
	for range depth + 1 {
		w.mine()
	}
}

// status is what the chain says of a hash.
func (w *world) status(hash string) chain.Status {
	for height, b := range w.blocks {
		for _, a := range b.mined {
			if a.Signed.Hash == hash && !w.unindexed {
				return chain.Status{State: chain.Mined, Head: w.head(), Success: true, Block: uint64(height), Hash: b.hash, Fee: big.NewInt(1)}
			}
		}
	}
	for _, a := range w.pool {
		if a.Signed.Hash == hash {
			return chain.Status{State: chain.Pending, Head: w.head()}
		}
	}
	return chain.Status{State: chain.Unknown, Head: w.head()}
}

// lag is a look through a node that is some blocks behind. What it takes of nonces that the chain has spent it drops when it has
// caught up.
func (w *world) lag(behind int) {
	whole := w.blocks
	w.blocks = whole[:max(1, len(whole)-behind)]
	w.look()
	w.blocks = whole
	for nonce := range w.pool {
		if nonce < w.nonce() {
			delete(w.pool, nonce)
		}
	}
}

// look does what a Keeper does at a new head.
func (w *world) look() {
	v := transaction.View{Now: transaction.Moment{Head: w.head(), At: w.now}, Nonce: w.nonce()}
	if w.head()+1 > confirmations {
		v.Confirmed = w.head() + 1 - confirmations
	}
	if w.head()+1 > finalDepth {
		v.Final = w.head() + 1 - finalDepth
	}
	for {
		v.Found = map[string]chain.Status{}
		for _, hash := range transaction.Question(w.open, v, w.suspicion) {
			v.Found[hash] = w.status(hash)
		}
		if w.suspicion || !transaction.Contradicts(w.open, v) {
			break
		}
		w.suspicion = true
	}
	w.suspicion = false
	transaction.Notice(w.open, v)
	v.Quotes = map[int]chain.Quote{0: {Price: chain.Price{Fee: big.NewInt(2 * w.base), Tip: big.NewInt(1)}, Least: big.NewInt(w.base)}}
	v.Traces = map[uint64]chain.Trace{}
	acts := transaction.Plan(w.lane, w.open, v, rules)
	for _, a := range acts {
		if a.Do == transaction.Trace {
			v.Learn(w.open, w.at(a.Nonce), w.trace(a.Nonce))
		}
	}
	if len(v.Traces) > 0 {
		acts = transaction.Plan(w.lane, w.open, v, rules)
	}
	for _, a := range acts {
		w.carryOut(a, v)
	}
}

// trace is what the blocks say of a nonce, whoever has a receipt.
func (w *world) trace(nonce uint64) chain.Trace {
	for height, b := range w.blocks {
		if a, ok := b.mined[nonce]; ok {
			ended := !w.at(nonce).Fate.Spent() // otherwise its header is all that is left of the block
			return chain.Trace{Known: true, Hash: a.Signed.Hash, Ended: ended, Status: chain.Status{
				State: chain.Mined, Head: w.head(), Success: ended, Block: uint64(height), Hash: b.hash, Fee: big.NewInt(1),
			}}
		}
	}
	return chain.Trace{}
}

func (w *world) at(nonce uint64) *transaction.Open {
	for i := range w.open {
		if w.open[i].Nonce == nonce {
			return &w.open[i]
		}
	}
	w.t.Fatalf("an act names nonce %d, which is not open", nonce)
	return nil
}

// carryOut holds each act to what may be done.
func (w *world) carryOut(a transaction.Act, v transaction.View) {
	if a.Event != "" {
		w.events[a.Event]++
	}
	switch a.Do {
	case transaction.Sign:
		w.sign(w.at(a.Nonce), a.Attempt)
		w.send(w.at(a.Nonce), a.Attempt)
	case transaction.Send:
		o := w.at(a.Nonce)
		if a.Attempt != o.Newest().Number || len(o.Newest().Signed.Raw) == 0 {
			w.t.Fatalf("attempt %d of nonce %d is sent, and the newest is %d", a.Attempt, a.Nonce, o.Newest().Number)
		}
		w.send(o, a.Attempt)
	case transaction.Replace:
		w.replace(a)
	case transaction.Record:
		w.record(a)
	case transaction.Settle:
		w.settle(a.Nonce, v)
	case transaction.Ask, transaction.Trace:
		w.t.Fatalf("%s is asked for, and it was told", a.Do)
	case transaction.Halt:
		w.t.Fatalf("the key is halted: %s", a.Why)
	}
}

func (w *world) replace(a transaction.Act) {
	o := w.at(a.Nonce)
	next := transaction.Attempt{Number: a.Attempt, Kind: a.Kind, Tx: o.Attempts[0].Tx.Priced(a.Price)}
	if a.Kind == transaction.NoOp {
		next.Tx.To, next.Tx.Value = next.Tx.From, new(big.Int)
	}
	if err := transaction.Admit(o.Transaction, w.lane.Settled, next); err != nil {
		w.t.Fatalf("a replacement that no store admits (I6): %v", err)
	}
	o.Attempts = append(slices.Clone(o.Attempts), next)
	o.Offered, o.Waiting, o.Looks, o.Refusal, o.Strikes = transaction.Moment{}, transaction.Moment{}, 0, "", 0
	w.sign(o, next.Number)
	w.send(o, next.Number)
}

func (w *world) record(a transaction.Act) {
	o := w.at(a.Nonce)
	o.Fate = a.Fate
	w.confirmed[a.Nonce] = a.Fate.Status == transaction.Confirmed
	if !a.Fate.Spent() {
		return
	}
	held, ok := w.blocks[a.Fate.Block].mined[a.Nonce]
	if !ok || held.Number != a.Fate.Attempt || w.blocks[a.Fate.Block].hash != a.Fate.Hash {
		w.t.Fatalf("nonce %d is recorded as %+v, and the chain does not say so", a.Nonce, a.Fate)
	}
	if a.Fate.Status == transaction.Confirmed && w.head()+1-a.Fate.Block < confirmations {
		w.t.Fatalf("nonce %d is confirmed in block %d, and the head is %d (I14)", a.Nonce, a.Fate.Block, w.head())
	}
}

func (w *world) settle(below uint64, v transaction.View) {
	for len(w.open) > 0 && w.open[0].Nonce < below {
		o := w.open[0]
		if a, ok := w.blocks[o.Fate.Block].mined[o.Nonce]; !ok || a.Number != o.Fate.Attempt || o.Fate.Block > v.Final {
			w.t.Fatalf("nonce %d is settled with %+v, which is not so", o.Nonce, o.Fate)
		}
		w.settled, w.open = append(w.settled, o), w.open[1:]
	}
	w.lane.Settled = below
}

// TestLanesNeverWedge: whatever a chain does that makes no final block undone, each transaction ends: as it was decided, or,
// where the node never takes it, as a no-op (I6, I12, I14). A confirmation that was taken away was told exactly once.
func TestLanesNeverWedge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Second)
			switch rapid.SampledFrom([]string{"mine", "mine", "mine", "mine", "look", "decide", "decide", "drop", "reorganise", "fee", "lag", "index"}).Draw(t, "what happens") {
			case "mine":
				w.mine()
				w.look()
			case "look":
				w.look()
			case "decide":
				signed := rapid.IntRange(0, 9).Draw(t, "signed") > 0
				w.decide(rapid.Int64Range(1, 2*w.base).Draw(t, "fee"), signed, rapid.Bool().Draw(t, "offered"), rapid.IntRange(0, 9).Draw(t, "bad") == 0)
			case "drop":
				clear(w.pool)
			case "index":
				w.unindexed = !w.unindexed
			case "lag":
				w.lag(rapid.IntRange(1, 6).Draw(t, "behind"))
			case "reorganise":
				w.reorganise(rapid.IntRange(1, 6).Draw(t, "depth"), rapid.Bool().Draw(t, "forget"))
				w.look()
				w.told()
			case "fee":
				w.base = min(max(1, w.base*rapid.Int64Range(1, 40).Draw(t, "tenths")/10), 1_000_000)
			}
		}
		w.fairWeather()
	})
}

// fairWeather lets blocks come until everything has ended, and checks how. Nothing may take longer than a bounded number of
// blocks for each transaction.
func (w *world) fairWeather() {
	bound := 20 + finalDepth + 12*len(w.open)
	for n := 0; len(w.open) > 0; n++ {
		if n > bound {
			w.t.Fatalf("after %d blocks without trouble %d transactions are open: %+v", n, len(w.open), w.open[0])
		}
		w.now = w.now.Add(time.Second)
		w.mine()
		w.look()
	}
	for _, o := range w.settled {
		ended, _ := o.Ended()
		if (ended.Kind == transaction.NoOp) != w.bad[o.Nonce] {
			w.t.Fatalf("nonce %d ended as %s; the node never takes it: %t", o.Nonce, ended.Kind, w.bad[o.Nonce])
		}
	}
	w.told()
	if w.events[transaction.EventReversed] > w.reversed {
		w.t.Fatalf("%d confirmations were taken away, %d were told as reversed (I14)", w.reversed, w.events[transaction.EventReversed])
	}
	if w.nonce() != w.lane.Next || w.lane.Settled != w.lane.Next {
		w.t.Fatalf("the chain has spent %d, settled are %d of %d (I12)", w.nonce(), w.lane.Settled, w.lane.Next)
	}
}

// told checks that a look has told of each confirmation that was taken away.
func (w *world) told() {
	if told := w.events[transaction.EventReversed] + w.events[transaction.EventMoved]; told < w.reversed {
		w.t.Fatalf("%d confirmations were taken away, %d were told (I14): %v", w.reversed, told, w.events)
	}
}

// TestI12WhatTheNextBlockWillNotTakeIsNotWaitedFor: the first of its lane offers too little, a block has passed over it, and its
// patience has not run out.
func TestI12WhatTheNextBlockWillNotTakeIsNotWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		fee      int64
		patience uint64
		head     uint64
		want     []transaction.Do
	}{
		"in the block that it waits for":      {fee: 99, patience: 50, head: 10},
		"passed over for its price":           {fee: 99, patience: 50, head: 11, want: []transaction.Do{transaction.Replace}},
		"passed over for another reason":      {fee: 100, patience: 50, head: 11},
		"passed over, and nothing is to rise": {fee: 99, patience: 0, head: 11},
	} {
		t.Run(name, func(t *testing.T) {
			o, v, lane := sinceBlock10(c.fee, chain.FeePolicy{Patience: c.patience}, c.head, chain.Pending)
			if acts := transaction.Plan(lane, []transaction.Open{o}, v, rules); slices.ContainsFunc(acts, func(a transaction.Act) bool { return a.Do == transaction.Ask }) != (c.head > 10 && c.patience > 0) {
				t.Errorf("without a quote: %+v", acts)
			}
			v.Quotes = map[int]chain.Quote{0: {Price: chain.Price{Fee: big.NewInt(200), Tip: big.NewInt(1)}, Least: big.NewInt(100)}}
			var dos []transaction.Do
			for _, a := range transaction.Plan(lane, []transaction.Open{o}, v, rules) {
				dos = append(dos, a.Do)
			}
			if !slices.Equal(dos, c.want) {
				t.Errorf("planned is %v, wanted %v", dos, c.want)
			}
		})
	}
}

// sinceBlock10 is a lane with one transaction, the next to be mined, that was offered at block 10, and what a node says of it at
// a later head.
func sinceBlock10(fee int64, policy chain.FeePolicy, head uint64, state chain.State) (transaction.Open, transaction.View, transaction.Lane) {
	tx := chain.Unsigned{Chain: "c", From: "0xa", To: "0xb", Value: big.NewInt(1), Gas: 21_000, Fee: big.NewInt(fee), Tip: big.NewInt(1)}
	first := transaction.Attempt{Kind: transaction.First, Tx: tx, Signed: chain.Signed{Hash: "0x1", Raw: []byte{1}}}
	waits := transaction.Moment{Head: 10, At: time.Unix(1, 0)}
	o := transaction.Open{
		Transaction: transaction.Transaction{Key: "key_a", Nonce: 3, Attempts: []transaction.Attempt{first}, Fate: transaction.Fate{Status: transaction.Sent}},
		Noticed:     waits, Offered: waits, Waiting: waits, Looks: 1, Policy: policy,
	}
	v := transaction.View{Now: transaction.Moment{Head: head, At: waits.At}, Nonce: 3, Found: map[string]chain.Status{"0x1": {State: state, Head: head}}}
	return o, v, transaction.Lane{Key: "key_a", Chain: "c", Address: "0xa", Next: 4, Settled: 3}
}

// TestI12WhatMayNotBeRaisedIsStillSent: its policy forbids to offer more, and the node has dropped it. The chain can become
// cheaper, so it is sent again at every look; that it may not be raised is told once.
func TestI12WhatMayNotBeRaisedIsStillSent(t *testing.T) {
	o, v, lane := sinceBlock10(99, chain.FeePolicy{Patience: 5, Ceiling: big.NewInt(99)}, 11, chain.Unknown)
	v.Quotes = map[int]chain.Quote{0: {Price: chain.Price{Fee: big.NewInt(200), Tip: big.NewInt(1)}, Least: big.NewInt(100)}}
	for _, want := range [][]transaction.Do{{transaction.Record, transaction.Send}, {transaction.Send}} {
		var dos []transaction.Do
		for _, a := range transaction.Plan(lane, []transaction.Open{o}, v, rules) {
			dos = append(dos, a.Do)
		}
		if !slices.Equal(dos, want) {
			t.Errorf("planned is %v, wanted %v", dos, want)
		}
		o.Capped = true
	}
}

// TestI14ANodeThatIsBehindLosesNothing: one node tells that the nonce is spent, and the one that is asked for the transaction has it
// in its pool, or has not come so far and never heard of it, as one that was restored. Only what no node has that has come so far,
// look after look, is lost.
func TestI14ANodeThatIsBehindLosesNothing(t *testing.T) {
	for says, lost := range map[chain.Status]bool{
		{State: chain.Pending, Head: 11}: false, {State: chain.Unknown, Head: 11}: true, {State: chain.Unknown, Head: 10}: false,
	} {
		o, v, lane := sinceBlock10(99, chain.FeePolicy{}, 11, says.State)
		v.Nonce, v.Head, v.Found["0x1"] = o.Nonce+1, 11, says
		open := []transaction.Open{o}
		halted := false
		v.Traces = map[uint64]chain.Trace{o.Nonce: {Known: true}}
		for range 2 * rules.Certainty {
			transaction.Notice(open, v)
			for _, a := range transaction.Plan(lane, open, v, rules) {
				halted = halted || a.Do == transaction.Halt
			}
		}
		if halted != lost {
			t.Errorf("the nonce is spent, of the transaction is said %+v: halted is %t", says, halted)
		}
	}
}

// TestWhatTheWindowHeldBackIsSentWhenItOpens: nobody waits for the grace period of what a workflow has offered in time.
func TestWhatTheWindowHeldBackIsSentWhenItOpens(t *testing.T) {
	now := transaction.Moment{Head: 9, At: time.Unix(1_700_000_000, 0)}
	signed := transaction.Attempt{Kind: transaction.First, Signed: chain.Signed{Hash: "0x1", Raw: []byte{1}}}
	open := func(nonce uint64, held bool) transaction.Open {
		return transaction.Open{Transaction: transaction.Transaction{Nonce: nonce, Attempts: []transaction.Attempt{signed}}, Noticed: now, Held: held}
	}
	lane := transaction.Lane{Next: 9, Settled: 3}
	acts := transaction.Plan(lane, []transaction.Open{open(3, false), open(4, true), open(8, true)}, transaction.View{Now: now, Nonce: 3}, rules)
	if len(acts) != 1 || acts[0].Do != transaction.Send || acts[0].Nonce != 4 {
		t.Errorf("planned %+v; want nonce 4 to be sent: 3 has its workflow, 8 is beyond the window", acts)
	}
}

// TestARaiseIsPricedByItsOwnPolicy: what has to be mined soon is raised to what the dearer transactions pay, also behind one that
// may take its time; each percentile is asked for once it is wanted.
func TestARaiseIsPricedByItsOwnPolicy(t *testing.T) {
	first, v, lane := sinceBlock10(99, chain.FeePolicy{Patience: 5, Percentile: 20}, 11, chain.Pending)
	second := first
	second.Nonce, second.Waiting, second.Policy.Percentile = 4, transaction.Moment{}, 90
	lane.Next = 5
	quotes := map[int]chain.Quote{
		0:  {Price: chain.Price{Fee: big.NewInt(1000), Tip: big.NewInt(1)}, Least: big.NewInt(500)},
		20: {Price: chain.Price{Fee: big.NewInt(200), Tip: big.NewInt(2)}, Least: big.NewInt(100)},
		90: {Price: chain.Price{Fee: big.NewInt(900), Tip: big.NewInt(9)}, Least: big.NewInt(800)},
	}
	v.Quotes = map[int]chain.Quote{}
	for _, percentile := range []int{20, 90} {
		asked := 0
		for _, a := range transaction.Plan(lane, []transaction.Open{first, second}, v, rules) {
			if a.Do == transaction.Ask {
				asked = a.Percent
			}
		}
		if asked != percentile {
			t.Fatalf("with the quotes %v it asks for %d, not %d", v.Quotes, asked, percentile)
		}
		v.Quotes[percentile] = quotes[percentile]
	}
	for _, a := range transaction.Plan(lane, []transaction.Open{first, second}, v, rules) {
		if want := map[uint64]int64{3: 200, 4: 900}[a.Nonce]; a.Do != transaction.Replace || a.Price.Fee.Int64() != want {
			t.Errorf("planned is %+v; a raise to %d was wanted", a, want)
		}
	}
}

package transaction_test

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/transaction"
)

// TestI14ANodeThatIsBehindTakesNothingBack: the head is told by one node, and another one that has not come to the transaction's
// block does not know of it.
func TestI14ANodeThatIsBehindTakesNothingBack(t *testing.T) {
	for head, back := range map[uint64]bool{11: false, 12: true} {
		o, v, lane := sinceBlock10(99, chain.FeePolicy{}, 14, chain.Unknown)
		o.Fate = transaction.Fate{Status: transaction.Confirmed, Block: 12, Hash: "block 12"}
		v.Found["0x1"] = chain.Status{State: chain.Unknown, Head: head}
		open := []transaction.Open{o}
		var told []string
		for _, a := range transaction.Plan(lane, open, v, rules) {
			told = append(told, a.Event)
		}
		if slices.Contains(told, transaction.EventReversed) != back || transaction.Contradicts(open, v) != back {
			t.Errorf("a node at block %d does not have what was mined in block 12: told is %v", head, told)
		}
	}
}

// TestA16AForeignUseIsSeenAgainAndAgain: one answer that a node gets wrong sets no key aside.
func TestA16AForeignUseIsSeenAgainAndAgain(t *testing.T) {
	_, v, lane := sinceBlock10(99, chain.FeePolicy{}, 11, chain.Pending)
	v.Nonce = lane.Next + 1
	for v.Foreign = 1; v.Foreign <= rules.Certainty; v.Foreign++ {
		acts := transaction.Plan(lane, nil, v, rules)
		if halts := len(acts) > 0 && acts[0].Do == transaction.Halt; halts != (v.Foreign == rules.Certainty) {
			t.Errorf("seen %d times: %+v", v.Foreign, acts)
		}
	}
}

// TestWhatIsFinalIsGivenUpOnlyByWhoCouldKnow: a node that is behind the block of what is settled shows a lower nonce, too.
func TestWhatIsFinalIsGivenUpOnlyByWhoCouldKnow(t *testing.T) {
	o, v, _ := sinceBlock10(99, chain.FeePolicy{}, 90, chain.Unknown)
	o.Fate = transaction.Fate{Status: transaction.Confirmed, Block: 20, Hash: "block 20"}
	for name, c := range map[string]struct {
		told uint64
		says chain.Status
		sunk bool
	}{
		"gone":                       {90, chain.Status{State: chain.Unknown, Head: 90}, true},
		"who told the nonce is late": {19, chain.Status{State: chain.Unknown, Head: 90}, false},
		"who was asked for it is":    {90, chain.Status{State: chain.Unknown, Head: 19}, false},
		"it is there":                {90, chain.Status{State: chain.Mined, Head: 90, Hash: "block 20"}, false},
	} {
		v.Head, v.Found["0x1"] = c.told, c.says
		if got := transaction.Sunk([]transaction.Transaction{o.Transaction}, v); got != c.sunk {
			t.Errorf("%s: given up is %t", name, got)
		}
	}
}

// TestI5WhatNobodyCanTellIsNeverCalledLost: the nonce is spent, and no receipt is told. Only what is found in a block decides; what
// nobody keeps is unknown. Both set the key aside; what turns out to be ours needs neither.
func TestI5WhatNobodyCanTellIsNeverCalledLost(t *testing.T) {
	place := chain.Status{State: chain.Mined, Head: 11, Success: true, Block: 11, Hash: "block 11", Fee: big.NewInt(1)}
	for name, c := range map[string]struct {
		trace chain.Trace
		want  transaction.Status
	}{
		"it went to something else":   {chain.Trace{Known: true}, transaction.Lost},
		"nobody keeps it":             {chain.Trace{}, transaction.Unknown},
		"its block keeps no receipts": {chain.Trace{Known: true, Hash: "0x1", Status: place}, transaction.Unknown},
		"its block tells":             {chain.Trace{Known: true, Hash: "0x1", Ended: true, Status: place}, transaction.Mined},
	} {
		o, v, lane := sinceBlock10(99, chain.FeePolicy{}, 11, chain.Unknown)
		v.Nonce, v.Head, v.Traces = o.Nonce+1, 11, map[uint64]chain.Trace{}
		open := []transaction.Open{o}
		for range rules.Certainty {
			if acts := transaction.Plan(lane, open, v, rules); len(acts) != 0 {
				t.Errorf("%s: one answer that a node gets wrong leads to %+v", name, acts)
			}
			transaction.Notice(open, v)
		}
		if acts := transaction.Plan(lane, open, v, rules); len(acts) != 1 || acts[0].Do != transaction.Trace {
			t.Fatalf("%s: planned is %+v; it should be traced", name, acts)
		}
		v.Learn(open, &open[0], c.trace)
		acts := transaction.Plan(lane, open, v, rules)
		halts := slices.ContainsFunc(acts, func(a transaction.Act) bool { return a.Do == transaction.Halt })
		if len(acts) == 0 || acts[0].Fate.Status != c.want || halts != acts[0].Fate.GivenUp() {
			t.Errorf("%s: %+v; it should be recorded as %s", name, acts, c.want)
		}
		open[0].Fate, lane.Halted = acts[0].Fate, "set aside"
		if acts := transaction.Plan(lane, open, v, rules); c.want == transaction.Unknown && len(acts) != 0 {
			t.Errorf("%s: what is held leads to %+v", name, acts)
		}
	}
}

// TestI12WaitingIsCountedFromTheBlockThatItWasOfferedAt: the block after it is the first that can pass it over. What comes to be the
// first of its lane later waits since then.
func TestI12WaitingIsCountedFromTheBlockThatItWasOfferedAt(t *testing.T) {
	for since, want := range map[uint64]uint64{8: 10, 10: 10, 11: 11} {
		o, v, _ := sinceBlock10(99, chain.FeePolicy{}, 11, chain.Pending)
		o.Waiting, o.Looks, v.Since = transaction.Moment{}, 0, transaction.Moment{Head: since, At: time.Unix(2, 0)}
		open := []transaction.Open{o}
		transaction.Notice(open, v)
		if open[0].Waiting.Head != want {
			t.Errorf("offered at block 10, the first of its lane since block %d: it waits since block %d", since, open[0].Waiting.Head)
		}
	}
}

// TestI5AVerdictIsHeldAgainstTheChain: an operator says what an unknown nonce was spent on. What a node can still tell counts more, and
// what nobody can look up is taken as it is said.
func TestI5AVerdictIsHeldAgainstTheChain(t *testing.T) {
	o, _, _ := sinceBlock10(99, chain.FeePolicy{}, 20, chain.Unknown)
	const ours, foreign = 0, -1
	in11 := func(ended, success bool) chain.Trace {
		return chain.Trace{Known: true, Hash: "0x1", Ended: ended, Status: chain.Status{State: chain.Mined, Success: success, Block: 11, Hash: "block 11"}}
	}
	none, another := chain.Trace{}, chain.Trace{Known: true}
	said := func(block uint64, reverted bool) transaction.Verdict {
		return transaction.Verdict{Hash: "0x1", Block: block, Reverted: reverted}
	}
	for name, c := range map[string]struct {
		verdict transaction.Verdict
		attempt int
		trace   chain.Trace
		want    transaction.Status // "": refused
		success bool
	}{
		"ours, in a block that is there":              {said(11, false), ours, in11(false, false), transaction.Confirmed, true},
		"ours, reverted":                              {said(11, true), ours, in11(false, false), transaction.Confirmed, false},
		"as its receipt says":                         {said(11, false), ours, in11(true, true), transaction.Confirmed, true},
		"ours, and its receipt says that it reverted": {said(11, false), ours, in11(true, false), "", false},
		"ours, in another block":                      {said(12, false), ours, in11(true, true), "", false},
		"ours, in a block that nobody has":            {said(11, false), ours, none, "", false},
		"ours, and the chain shows another one":       {said(11, false), ours, another, "", false},
		"foreign, and nobody can tell":                {transaction.Verdict{}, foreign, none, transaction.Lost, false},
		"foreign, and the chain shows so":             {transaction.Verdict{}, foreign, another, transaction.Lost, false},
		"foreign, and the chain shows ours":           {transaction.Verdict{}, foreign, in11(false, false), "", false},
		"a hash with a slip":                          {transaction.Verdict{Hash: "0x12"}, foreign, none, "", false},
	} {
		fate, err := c.verdict.Judge(o.Transaction, c.attempt, c.trace, 18)
		if fate.Status != c.want || fate.Success != c.success || (err != nil) != (c.want == "") {
			t.Errorf("%s: %+v, %v; want %q, success %t", name, fate, err, c.want, c.success)
		}
	}
	if fate, err := said(11, false).Judge(o.Transaction, ours, in11(true, true), 10); err == nil {
		t.Errorf("in a block that is not deep enough: %+v (I14)", fate)
	}
}

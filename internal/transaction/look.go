package transaction

import (
	"github.com/avalhq/aval/internal/chain"
)

// Question is what one look asks the chain about a lane: the hashes of all attempts of the transactions that matter now.
//
//	spent, and not recorded so                every attempt: which of them was it?
//	recorded as mined, deep enough now        again, before it counts as confirmed
//	confirmed, final now                      one of each block, before it is settled
//	recorded in the highest block             always: its ancestors are the blocks of all others, so a reorganisation shows here
//	recorded, and the chain's nonce is lower  a reorganisation, or a node that lags behind
//	sent at an earlier head                   the first and the last of them: does the node still have it?
//	refused for good                          always: the node is asked again and again
//
// With suspicion, after a look that has contradicted what is recorded or what was sent, everything is asked for.
func Question(open []Open, v View, suspicion bool) (hashes []string) {
	top := highest(open)
	first, last := ends(open, v)
	blocks := map[string]bool{}
	for i := range open {
		t := &open[i]
		spent := t.Fate.Spent()
		ask := false
		switch {
		case t.Fate.Status == Lost:
		case suspicion && (spent || t.Nonce < v.Nonce || waits(t, v)), i == top, i == first, i == last:
			ask = true
		case t.Refusal != "" && !t.Poor:
			ask = true
		case t.Nonce >= v.Nonce:
			ask = spent
		case !spent:
			ask = true
		case t.Fate.Status == Mined:
			ask = t.Fate.Block <= v.Confirmed
		case t.Fate.Block <= v.Final && !blocks[t.Fate.Hash]:
			ask = true
			blocks[t.Fate.Hash] = true
		}
		if !ask {
			continue
		}
		for _, a := range t.Attempts {
			if a.Signed.Hash != "" {
				hashes = append(hashes, a.Signed.Hash)
			}
		}
	}
	return hashes
}

// highest is the place of a transaction in the highest block that is recorded; -1 when none is.
func highest(open []Open) int {
	top := -1
	for i := range open {
		if open[i].Fate.Spent() && (top < 0 || open[i].Fate.Block > open[top].Fate.Block) {
			top = i
		}
	}
	return top
}

// waits says whether a node should have it in its pool: it was sent at an earlier head and is not mined.
func waits(t *Open, v View) bool {
	return t.Nonce >= v.Nonce && !t.Fate.Spent() && !t.Offered.At.IsZero() && t.Offered.Head < v.Now.Head
}

// ends are the places of the first and the last that wait in a node's pool; -1 when none does. A pool that drops something of a
// lane drops its last ones or all; a hole in the middle shows when it is the first.
func ends(open []Open, v View) (first, last int) {
	first, last = -1, -1
	for i := range open {
		if waits(&open[i], v) {
			last = i
			if first < 0 {
				first = i
			}
		}
	}
	return first, last
}

// Contradicts says whether a look shows something else than what is recorded as mined, or does not show what was sent: then
// nothing that is known of the lane can be relied on.
func Contradicts(open []Open, v View) bool {
	for i := range open {
		t := &open[i]
		if waits(t, v) && t.Refusal == "" && gone(t, v) {
			return true
		}
		a, ok := t.Ended()
		if !ok {
			continue
		}
		if s, asked := v.Found[a.Signed.Hash]; asked && s.Head >= t.Fate.Block && (s.State != chain.Mined || s.Hash != t.Fate.Hash) {
			return true
		}
	}
	return false
}

// gone says whether the node has none of the attempts that it was asked for.
func gone(t *Open, v View) bool {
	asked := false
	for _, a := range t.Attempts {
		s, found := v.Found[a.Signed.Hash]
		if found && s.State != chain.Unknown {
			return false
		}
		asked = asked || found
	}
	return asked
}

// Notice brings what a process remembers of a lane up to date with a look, before it is planned.
func Notice(open []Open, v View) {
	for i := range open {
		t := &open[i]
		if t.Noticed.At.IsZero() {
			t.Noticed = v.Now
		}
		switch {
		case t.Nonce != v.Nonce || t.Offered.At.IsZero():
			t.Waiting, t.Looks = Moment{}, 0
		case t.Waiting.At.IsZero():
			t.Waiting, t.Looks = t.Offered, 0
			if t.Waiting.Head < v.Since.Head { // then others were still before it
				t.Waiting = v.Since
			}
		default:
			t.Looks++
		}
		t.Missing = missing(t, v)
		if t.Freed++; !t.Fate.GivenUp() || t.Nonce < v.Nonce {
			t.Freed = 0
		}
	}
}

// missing counts looks at which the nonce was spent and no node had any of the attempts, though every one was asked for. A node
// that has one and shows it in no block yet is behind the one that told of the nonce; one whose head is lower than that one's
// cannot know (I14).
func missing(t *Open, v View) int {
	if t.Nonce >= v.Nonce || t.Fate.Spent() {
		return 0
	}
	for _, a := range t.Attempts {
		if a.Signed.Hash == "" {
			continue
		}
		s, asked := v.Found[a.Signed.Hash]
		switch {
		case !asked:
			return t.Missing
		case s.State != chain.Unknown:
			return 0
		case s.Head < v.Head:
			return t.Missing
		}
	}
	return t.Missing + 1
}

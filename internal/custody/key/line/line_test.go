package line

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func claims(q *Queue, wants ...string) map[string]*Claim {
	made := map[string]*Claim{}
	for _, want := range wants {
		c := NewClaim(want[:1], "pool")
		if want[0] == 'p' {
			c.Key = ""
		}
		made[want] = c
		q.Join(c)
	}
	return made
}

func woken(c *Claim) bool {
	select {
	case <-c.Wake:
		return true
	default:
		return false
	}
}

// TestQueueServesInOrder: of those who want the same, the first to ask has the turn, and leaving hands it on (I11).
func TestQueueServesInOrder(t *testing.T) {
	var q Queue
	c := claims(&q, "a1", "a2", "p1", "a3", "b1", "p2")
	turns := func(want ...string) {
		t.Helper()
		has := map[string]bool{}
		for _, name := range want {
			has[name] = true
		}
		for name, claim := range c {
			if q.First(claim) != has[name] {
				t.Errorf("%s has the turn: %v", name, !has[name])
			}
		}
	}
	turns("a1", "p1") // b1 waits for p1, who may take b
	q.Leave(c["a1"])
	turns("a2", "p1")
	if !woken(c["a2"]) || woken(c["a3"]) || woken(c["b1"]) {
		t.Error("a1 left, and not a2 alone of the named was woken")
	}
	q.Leave(c["p1"])
	turns("a2", "b1", "p2")
	if !woken(c["b1"]) || !woken(c["p2"]) {
		t.Error("p1 left, and b1 and p2 were not woken")
	}
	q.Leave(c["a2"])
	q.Leave(c["a2"])
	turns("a3", "b1", "p2")
}

// TestQueueWakesTheFirstWhoWants: a free key is offered to one, in order of asking.
func TestQueueWakesTheFirstWhoWants(t *testing.T) {
	var q Queue
	c := claims(&q, "a1", "p1", "p2")
	q.Freed("a", "pool")
	if !woken(c["a1"]) || woken(c["p1"]) || woken(c["p2"]) {
		t.Error("a was not offered to a1 alone")
	}
	q.Freed("b", "pool")
	if woken(c["a1"]) || !woken(c["p1"]) || woken(c["p2"]) {
		t.Error("b was not offered to p1 alone")
	}
	if r := q.Reserved(c["p1"]); len(r) != 1 || !r["a"] {
		t.Errorf("reserved for those before p1: %v; want a", r)
	}
	q.Freed("z", "other")
	for name, claim := range c {
		if woken(claim) {
			t.Errorf("%s was woken for a key that it does not want", name)
		}
	}
}

// TestQueueGoesOnWhileOneIsServed: who has a key set apart holds nobody up, keeps his place until he leaves, and is not woken.
func TestQueueGoesOnWhileOneIsServed(t *testing.T) {
	var q Queue
	c := claims(&q, "p1", "p2", "p3")
	q.Serve(c["p1"], true)
	if !q.First(c["p2"]) || q.First(c["p3"]) || !woken(c["p2"]) || woken(c["p3"]) {
		t.Error("p1 is being served, and it is not p2's turn alone")
	}
	if q.Freed("a", "pool"); woken(c["p1"]) || !woken(c["p2"]) {
		t.Error("a free key was offered to p1, who is being served, and not to p2")
	}
	if q.Serve(c["p1"], false); !q.First(c["p1"]) || q.First(c["p2"]) {
		t.Error("p1 was not served after all, and is not the first again")
	}
}

// inTheWay is the rule, as the comment of Queue words it: whether an earlier claim holds up a later one.
func inTheWay(earlier, later *Claim, served map[*Claim]bool) bool {
	if served[earlier] {
		return false
	}
	if earlier.Key != "" {
		return earlier.Key == later.Key
	}
	return earlier.Pool == later.Pool
}

// TestQueueKeepsTheRule: whatever came and went before, it is the turn of those, and of those alone, who have nobody in their way; and
// whoever gets the turn because somebody else has moved is woken (I11).
func TestQueueKeepsTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue
		var all []*Claim
		served := map[*Claim]bool{}
		turns := func() map[*Claim]bool {
			has := map[*Claim]bool{}
			for i, c := range all {
				has[c] = !served[c] && !slices.ContainsFunc(all[:i], func(e *Claim) bool { return inTheWay(e, c, served) })
			}
			return has
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			before := turns()
			for _, c := range all {
				woken(c)
			}
			var moved *Claim
			if len(all) > 0 {
				moved = rapid.SampledFrom(all).Draw(t, "claim")
			}
			what := rapid.SampledFrom([]string{"join", "join", "leave", "serve", "not served"}).Draw(t, "what")
			switch {
			case what == "join" || moved == nil:
				pool := rapid.SampledFrom([]string{"p", "q"}).Draw(t, "pool")
				moved = NewClaim("", pool)
				if n := rapid.IntRange(0, 3).Draw(t, "key"); n > 0 {
					moved.Key = fmt.Sprint(pool, n)
				}
				all = append(all, moved)
				q.Join(moved)
			case what == "leave":
				all = slices.DeleteFunc(all, func(c *Claim) bool { return c == moved })
				q.Leave(moved)
			default:
				served[moved] = what == "serve"
				q.Serve(moved, served[moved])
			}
			for c, turn := range turns() {
				if !served[c] && q.First(c) != turn {
					t.Fatalf("after %s: the turn of %q of %s is %v, want %v", what, c.Key, c.Pool, !turn, turn)
				}
				if turn && !before[c] && c != moved && !woken(c) {
					t.Fatalf("after %s: nobody told %q of %s of its turn", what, c.Key, c.Pool)
				}
			}
		}
	})
}

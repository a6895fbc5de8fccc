package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
)

func claims(q *keyQueue, wants ...string) map[string]*keyClaim {
	made := map[string]*keyClaim{}
	for _, want := range wants {
		c := newKeyClaim(want[:1], "pool")
		if want[0] == 'p' {
			c.key = ""
		}
		made[want] = c
		q.join(c)
	}
	return made
}

func woken(c *keyClaim) bool {
	select {
	case <-c.wake:
		return true
	default:
		return false
	}
}

// TestQueueServesInOrder: of those who want the same, the first to ask has the turn, and leaving hands it on (I11).
func TestQueueServesInOrder(t *testing.T) {
	var q keyQueue
	c := claims(&q, "a1", "a2", "p1", "a3", "b1", "p2")
	turns := func(want ...string) {
		t.Helper()
		has := map[string]bool{}
		for _, name := range want {
			has[name] = true
		}
		for name, claim := range c {
			if q.first(claim) != has[name] {
				t.Errorf("%s has the turn: %v", name, !has[name])
			}
		}
	}
	turns("a1", "p1") // b1 waits for p1, who may take b
	q.leave(c["a1"])
	turns("a2", "p1")
	if !woken(c["a2"]) || woken(c["a3"]) || woken(c["b1"]) {
		t.Error("a1 left, and not a2 alone of the named was woken")
	}
	q.leave(c["p1"])
	turns("a2", "b1", "p2")
	if !woken(c["b1"]) || !woken(c["p2"]) {
		t.Error("p1 left, and b1 and p2 were not woken")
	}
	q.leave(c["a2"])
	q.leave(c["a2"])
	turns("a3", "b1", "p2")
}

// TestQueueWakesTheFirstWhoWants: a free key is offered to one, in order of asking.
func TestQueueWakesTheFirstWhoWants(t *testing.T) {
	var q keyQueue
	c := claims(&q, "a1", "p1", "p2")
	q.freed("a", "pool")
	if !woken(c["a1"]) || woken(c["p1"]) || woken(c["p2"]) {
		t.Error("a was not offered to a1 alone")
	}
	q.freed("b", "pool")
	if woken(c["a1"]) || !woken(c["p1"]) || woken(c["p2"]) {
		t.Error("b was not offered to p1 alone")
	}
	if r := q.reserved(c["p1"]); len(r) != 1 || !r["a"] {
		t.Errorf("reserved for those before p1: %v; want a", r)
	}
	q.freed("z", "other")
	for name, claim := range c {
		if woken(claim) {
			t.Errorf("%s was woken for a key that it does not want", name)
		}
	}
}

// TestPoolLeavesWhatIsAwaited: a pool's request does not take the key for which somebody came earlier.
func TestPoolLeavesWhatIsAwaited(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	k := NewKeys(db)
	for _, id := range []string{"a", "b"} {
		if err := k.Add(t.Context(), key.Key{ID: id, Chain: "c", Address: id, Pool: "hot"}); err != nil {
			t.Fatal(err)
		}
	}
	k.queue.join(newKeyClaim("a", poolOf("c", "hot")))
	l, err := k.Lease(t.Context(), key.Request{Holder: "p/w", Chain: "c", Pool: "hot", TTL: time.Hour})
	if err != nil || l.Key.ID != "b" {
		t.Errorf("leased %s, %v; want b", l.Key.ID, err)
	}
}

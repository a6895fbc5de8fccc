// Package line keeps the order in which callers of one process wait for a key, for backends of key.Registry.
//
// A Queue decides only whose turn it is to ask; the backend's table decides who gets what. It holds nothing durable and ends
// with the process. The refusals of a request that cannot be served are worded here, so that they are the same everywhere.
package line

import "sync"

// Queue is who waits for a key, in order of asking.
//
// A claim may try when no earlier one wants the same: the same key, or the same pool, or the pool of its key. An earlier
// claim on one key holds up a later one on the pool only as far as that key is concerned (reserved). The earliest claim
// is held up by nobody, so nobody starves (I11).
type Queue struct {
	mu     sync.Mutex
	claims []*Claim
}

// Claim is one caller who wants a key or any key of a pool.
type Claim struct {
	Key  string        // "" for any of the pool
	Pool string        // of the key, see PoolOf; "" if in none
	Wake chan struct{} // gets a signal when it may be the claim's turn

	serving bool // see Serve; guarded by the queue
}

// NewClaim wants the key with the id, or any of the pool for "".
func NewClaim(id, pool string) *Claim {
	return &Claim{Key: id, Pool: pool, Wake: make(chan struct{}, 1)}
}

// PoolOf names a pool of a chain; "" for the keys that are in none.
func PoolOf(chain, pool string) string {
	if pool == "" {
		return ""
	}
	return chain + " " + pool
}

// holdsUp says whether the later claim has to wait for c.
func (c *Claim) holdsUp(later *Claim) bool {
	if c.serving {
		return false
	}
	if c.Key != "" {
		return c.Key == later.Key
	}
	return c.Pool == later.Pool
}

// Join puts a claim at the end.
func (q *Queue) Join(c *Claim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claims = append(q.claims, c)
}

// First says whether it is the claim's turn to try.
func (q *Queue) First(c *Claim) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.turn(c)
}

func (q *Queue) turn(c *Claim) bool {
	for _, earlier := range q.claims {
		if earlier == c {
			return true
		}
		if earlier.holdsUp(c) {
			return false
		}
	}
	return false // it has left
}

// Serve says that a key is set apart for the claim while the backend makes sure of it, so that those behind need not wait for
// that; or, with false, that it came to nothing and the claim is where it was.
func (q *Queue) Serve(c *Claim, serving bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.serving = serving
	if serving {
		q.poke(c)
	}
}

// Reserved is the keys that earlier claims want by name.
func (q *Queue) Reserved(c *Claim) map[string]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	var keys map[string]bool
	for _, earlier := range q.claims {
		if earlier == c {
			break
		}
		if earlier.Key != "" && earlier.Pool == c.Pool {
			if keys == nil {
				keys = map[string]bool{}
			}
			keys[earlier.Key] = true
		}
	}
	return keys
}

// Leave takes a claim out, served or given up, and wakes those whose way it was in. The second time it does nothing.
func (q *Queue) Leave(c *Claim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.claims[:0]
	for _, other := range q.claims {
		if other != c {
			kept = append(kept, other)
		}
	}
	if len(kept) == len(q.claims) {
		return
	}
	clear(q.claims[len(kept):])
	q.claims = kept
	q.poke(c)
}

// poke wakes those whose way the claim was in.
func (q *Queue) poke(c *Claim) {
	for _, other := range q.claims {
		if !other.serving && c.concerns(other) && q.turn(other) {
			other.poke()
		}
	}
}

// concerns says whether what c wanted is of interest to the other.
func (c *Claim) concerns(other *Claim) bool {
	return (c.Key != "" && c.Key == other.Key) || (c.Pool != "" && c.Pool == other.Pool)
}

// Freed wakes the first whose turn it is and who wants the key.
func (q *Queue) Freed(id, pool string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.claims {
		wants := c.Key == id || (c.Key == "" && c.Pool == pool && pool != "")
		if wants && !c.serving && q.turn(c) {
			c.poke()
			return
		}
	}
}

func (c *Claim) poke() {
	select {
	case c.Wake <- struct{}{}:
	default: // it has been told already
	}
}

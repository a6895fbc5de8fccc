package sqlite

import "sync"

// keyQueue is who waits for a key, in order of asking. It decides only whose turn it is; the table decides who gets what.
//
// A claim may try when no earlier one wants the same: the same key, or the same pool, or the pool of its key. An earlier
// claim on one key holds up a later one on the pool only as far as that key is concerned (reserved). The earliest claim
// is held up by nobody, so nobody starves (I11).
type keyQueue struct {
	mu     sync.Mutex
	claims []*keyClaim
}

// keyClaim is one caller who wants a key or any key of a pool.
type keyClaim struct {
	key  string // "" for any of the pool
	pool string // of the key, "" if in none
	wake chan struct{}
}

func newKeyClaim(id, pool string) *keyClaim {
	return &keyClaim{key: id, pool: pool, wake: make(chan struct{}, 1)}
}

// holdsUp says whether the later claim has to wait for c.
func (c *keyClaim) holdsUp(later *keyClaim) bool {
	if c.key != "" {
		return c.key == later.key
	}
	return c.pool == later.pool
}

// join puts a claim at the end.
func (q *keyQueue) join(c *keyClaim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claims = append(q.claims, c)
}

// first says whether it is the claim's turn to try.
func (q *keyQueue) first(c *keyClaim) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.turn(c)
}

func (q *keyQueue) turn(c *keyClaim) bool {
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

// reserved is the keys that earlier claims want by name.
func (q *keyQueue) reserved(c *keyClaim) map[string]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	var keys map[string]bool
	for _, earlier := range q.claims {
		if earlier == c {
			break
		}
		if earlier.key != "" && earlier.pool == c.pool {
			if keys == nil {
				keys = map[string]bool{}
			}
			keys[earlier.key] = true
		}
	}
	return keys
}

// leave takes a claim out, served or given up, and wakes those whose way it was in. The second time it does nothing.
func (q *keyQueue) leave(c *keyClaim) {
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
	for _, other := range q.claims {
		if c.concerns(other) && q.turn(other) {
			other.poke()
		}
	}
}

// concerns says whether what c wanted is of interest to the other.
func (c *keyClaim) concerns(other *keyClaim) bool {
	return (c.key != "" && c.key == other.key) || (c.pool != "" && c.pool == other.pool)
}

// freed wakes the first whose turn it is and who wants the key.
func (q *keyQueue) freed(id, pool string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.claims {
		wants := c.key == id || (c.key == "" && c.pool == pool && pool != "")
		if wants && q.turn(c) {
			c.poke()
			return
		}
	}
}

func (c *keyClaim) poke() {
	select {
	case c.wake <- struct{}{}:
	default: // it has been told already
	}
}

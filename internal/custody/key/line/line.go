// Package line keeps the order in which callers of one process wait for a key, for backends of key.Registry.
//
// A Queue decides only whose turn it is to ask; the backend's table decides who gets what. It holds nothing durable and ends
// with the process. The refusals of a request that cannot be served are worded here, so that they are the same everywhere.
package line

import (
	"cmp"
	"slices"
	"sync"
)

// Queue is who waits for a key, in order of asking.
//
// A claim may try when no earlier one wants the same: the same key, or the same pool, or the pool of its key. An earlier
// claim on one key holds up a later one on the pool only as far as that key is concerned (reserved). The earliest claim
// is held up by nobody, so nobody starves (I11).
//
// Those who want the same stand in a line of their own, so that hundreds who wait cost no more than one.
type Queue struct {
	mu     sync.Mutex
	joined uint64              // how many there have been
	lines  map[want][]*Claim   // who waits and is not served, in order of asking
	named  map[string][]*Claim // by pool: all claims on one of its keys, in order of asking
}

// want is a key, or a pool for any key of it.
type want struct{ key, pool string }

// Claim is one caller who wants a key or any key of a pool.
type Claim struct {
	Key  string        // "" for any of the pool
	Pool string        // of the key, see PoolOf; "" if in none
	Wake chan struct{} // gets a signal when it may be the claim's turn

	// Guarded by the queue.
	number  uint64 // in order of asking; 0 when it is not in the queue
	serving bool   // see Serve
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

func (c *Claim) want() want {
	if c.Key != "" {
		return want{key: c.Key}
	}
	return want{pool: c.Pool}
}

// Join puts a claim at the end.
func (q *Queue) Join(c *Claim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lines == nil {
		q.lines, q.named = map[want][]*Claim{}, map[string][]*Claim{}
	}
	q.joined++
	c.number = q.joined
	enter(q.lines, c.want(), c)
	if c.Key != "" && c.Pool != "" {
		enter(q.named, c.Pool, c)
	}
}

// enter puts a claim where it belongs by its number.
func enter[K comparable](lines map[K][]*Claim, name K, c *Claim) {
	at, _ := slices.BinarySearchFunc(lines[name], c, byNumber)
	lines[name] = slices.Insert(lines[name], at, c)
}

// quit takes a claim out, if it is there.
func quit[K comparable](lines map[K][]*Claim, name K, c *Claim) {
	at, there := slices.BinarySearchFunc(lines[name], c, byNumber)
	if !there {
		return
	}
	if lines[name] = slices.Delete(lines[name], at, at+1); len(lines[name]) == 0 {
		delete(lines, name)
	}
}

func byNumber(a, b *Claim) int { return cmp.Compare(a.number, b.number) }

// First says whether it is the claim's turn to try.
func (q *Queue) First(c *Claim) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.turn(c)
}

// head is the first who waits for exactly this; nil for nobody.
func (q *Queue) head(w want) *Claim {
	if waiting := q.lines[w]; len(waiting) > 0 {
		return waiting[0]
	}
	return nil
}

func (q *Queue) turn(c *Claim) bool {
	if q.head(c.want()) != c {
		return false
	}
	rival := q.head(want{pool: c.Pool}) // who may take any key of the pool
	return rival == nil || rival.number >= c.number
}

// Serve says that a key is set apart for the claim while the backend makes sure of it, so that those behind need not wait for
// that; or, with false, that it came to nothing and the claim is where it was.
func (q *Queue) Serve(c *Claim, serving bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.number == 0 || c.serving == serving {
		return
	}
	c.serving = serving
	if !serving {
		enter(q.lines, c.want(), c)
		return
	}
	quit(q.lines, c.want(), c)
	q.poke(c)
}

// Reserved is the keys that earlier claims want by name.
func (q *Queue) Reserved(c *Claim) map[string]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	var keys map[string]bool
	for _, other := range q.named[c.Pool] {
		if other.number >= c.number {
			break
		}
		if keys == nil {
			keys = map[string]bool{}
		}
		keys[other.Key] = true
	}
	return keys
}

// Leave takes a claim out, served or given up, and wakes those whose way it was in. The second time it does nothing.
func (q *Queue) Leave(c *Claim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.number == 0 {
		return
	}
	quit(q.lines, c.want(), c)
	quit(q.named, c.Pool, c)
	c.number = 0
	if c.serving && c.Key == "" {
		return // it has been in nobody's way since Serve
	}
	q.poke(c)
}

// poke wakes those whose way the claim was in.
func (q *Queue) poke(c *Claim) {
	if c.Key != "" {
		q.offer(q.head(want{key: c.Key}))
	}
	if c.Pool == "" {
		return
	}
	q.offer(q.head(want{pool: c.Pool}))
	for _, other := range q.named[c.Pool] {
		q.offer(other)
	}
}

// offer wakes a claim whose turn it is.
func (q *Queue) offer(c *Claim) {
	if c != nil && q.turn(c) {
		c.poke()
	}
}

// Freed wakes the first whose turn it is and who wants the key.
func (q *Queue) Freed(id, pool string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.head(want{key: id})
	if first != nil && !q.turn(first) {
		first = nil
	}
	if pool != "" {
		if other := q.head(want{pool: pool}); other != nil && (first == nil || other.number < first.number) {
			first = other
		}
	}
	if first != nil {
		first.poke()
	}
}

func (c *Claim) poke() {
	select {
	case c.Wake <- struct{}{}:
	default: // it has been told already
	}
}

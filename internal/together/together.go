// Package together does at once what can be done at once: it answers those who ask the same source at the same time with one read, and
// says how long to wait for more.
package together

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	crowd   = 64                     // from so many on more are waited for
	portion = 8                      // times as long as it took
	longest = 400 * time.Millisecond // and at the most
)

// Pause is how long whoever has just done some things together rests while more of them gather: under load that makes the next ones
// cheaper, and leaves the machine to what they wait for. It is 0 where few are to be done, and where those that were done were as many
// as can be done together, as others wait already.
func Pause(todo int, full bool, took time.Duration) time.Duration {
	if todo < crowd || full {
		return 0
	}
	return min(portion*took, longest)
}

// Reads answers all who ask while a read is under way with the next one. So a question is answered by a read that began after it
// was asked, which sees every write that had returned by then, and under load a read answers many.
type Reads[K comparable, V any] struct {
	read func(ctx context.Context, keys []K) (map[K]V, error)

	mu      sync.Mutex
	reading bool
	next    *round[K, V] // those who will be answered by the next read; nil: none
}

// round is what one read answers.
type round[K comparable, V any] struct {
	keys  map[K]bool
	found map[K]V
	err   error
	done  chan struct{}
}

// New makes Reads of a function that looks up some keys, each given once, in no order. Its context does not end: it sees to its own time.
func New[K comparable, V any](read func(ctx context.Context, keys []K) (map[K]V, error)) *Reads[K, V] {
	return &Reads[K, V]{read: read}
}

// Get gives what is found under the keys, perhaps with what others have asked for: it is shared with them and not to be changed. An
// error concerns all who were answered by one read.
func (s *Reads[K, V]) Get(ctx context.Context, keys ...K) (map[K]V, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	r := s.join(ctx, keys)
	select {
	case <-r.done:
		return r.found, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join adds keys to the next round, and begins it when none is under way.
func (s *Reads[K, V]) join(ctx context.Context, keys []K) *round[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round[K, V]{keys: map[K]bool{}, done: make(chan struct{})}
	}
	for _, key := range keys {
		s.next.keys[key] = true
	}
	if !s.reading {
		s.reading = true
		go s.rounds(context.WithoutCancel(ctx)) // the others do not stop asking when this one does
	}
	return s.next
}

// rounds reads until nobody asks any more.
func (s *Reads[K, V]) rounds(ctx context.Context) {
	for r := s.take(); r != nil; r = s.take() {
		r.found, r.err = s.read(ctx, slices.Collect(maps.Keys(r.keys)))
		close(r.done)
	}
}

func (s *Reads[K, V]) take() *round[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.next
	s.next, s.reading = nil, r != nil
	return r
}

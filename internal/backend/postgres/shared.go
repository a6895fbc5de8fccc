package postgres

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// shared answers all who ask while a statement is under way with the next one. So a question is answered by a statement that
// began after it was asked, which sees every write that had returned by then, and under load a statement answers many.
type shared[V any] struct {
	read func(ctx context.Context, keys []string) (map[string]V, error)

	mu      sync.Mutex
	reading bool
	next    *round[V] // those who will be answered by the next statement; nil: none
}

// round is what one statement answers.
type round[V any] struct {
	keys  map[string]bool
	found map[string]V
	err   error
	done  chan struct{}
}

func newShared[V any](read func(context.Context, []string) (map[string]V, error)) *shared[V] {
	return &shared[V]{read: read}
}

// get gives what is found under a key. It is shared with others who have asked.
func (s *shared[V]) get(ctx context.Context, key string) (value V, there bool, err error) {
	r := s.join(ctx, key)
	select {
	case <-r.done:
	case <-ctx.Done():
		return value, false, ctx.Err()
	}
	value, there = r.found[key]
	return value, there, r.err
}

// join adds a key to the next round, and begins it when none is under way.
func (s *shared[V]) join(ctx context.Context, key string) *round[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round[V]{keys: map[string]bool{}, done: make(chan struct{})}
	}
	s.next.keys[key] = true
	if !s.reading {
		s.reading = true
		go s.rounds(context.WithoutCancel(ctx)) // the others do not stop asking when this one does
	}
	return s.next
}

// rounds reads until nobody asks any more.
func (s *shared[V]) rounds(ctx context.Context) {
	for r := s.take(); r != nil; r = s.take() {
		r.found, r.err = s.read(ctx, slices.Collect(maps.Keys(r.keys)))
		close(r.done)
	}
}

func (s *shared[V]) take() *round[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.next
	s.next, s.reading = nil, r != nil
	return r
}

package server

import (
	"sync"

	"github.com/avalhq/aval/internal/problem"
)

// slots bounds the live streams: all of them, and those of one subject, so that none can take them all.
type slots struct {
	mu           sync.Mutex
	total, limit int
	each         int
	bySubject    map[string]int
}

func newSlots(limit, each int) *slots {
	return &slots{limit: limit, each: each, bySubject: map[string]int{}}
}

// take gives a slot back through release, which may be called once.
func (s *slots) take(subject string) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.limit || s.bySubject[subject] >= s.each {
		return nil, problem.New(problem.TooMany, "too-many-streams", "too many streams are open; close some, or follow all messages through one stream at /v1/events")
	}
	s.total++
	s.bySubject[subject]++
	return func() { s.put(subject) }, nil
}

func (s *slots) put(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.bySubject[subject]--; s.bySubject[subject] == 0 {
		delete(s.bySubject, subject)
	}
}

// Package leader lets one of several processes do what is done once.
//
// A seat is named work that one process at a time should do: keeping the lanes of a chain, moving the read model on. A Seat
// campaigns for it as a service and tells at any moment whether this process has it. Whoever works does so Within the seat:
// under a context that ends when the seat is lost.
//
// A seat saves work and noise; it decides nothing. For as long as it takes a process to notice that it was cut off, two may
// believe that they lead, so what is done within a seat has to be safe when two do it: here the stores see to that, by unique
// attempts, fences, and versions that never go back.
package leader

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/lifecycle"
)

// Elections is the port to what decides who leads.
//
// Durability: none; a seat ends with the process that has it. Ordering: none; who waits longest need not be next. Consistency: at most
// one process has a seat, but for the time in which a process that was cut off has not noticed. It notices before the seat is given
// to another wherever it can tell that its connection fails. Its conformance suite is leadertest.
type Elections interface {
	// Hold waits until this process has the seat. The term ends when ctx does, when leave is called, and as soon as it is not sure any
	// more that the seat is held. leave gives the seat up at once; it has to be called, also when the term has ended.
	Hold(ctx context.Context, seat string) (term context.Context, leave func(), err error)
}

// Look is how long who has not the seat, and would work in it, waits before looking for it again.
const Look = 200 * time.Millisecond

// again is how long after a failure the next campaign begins.
const again = 500 * time.Millisecond

// Seat campaigns for a seat and tells whether this process has it. A nil *Seat is always had: it is for a process that shares its
// storage with no other.
type Seat struct {
	elections Elections
	name      string
	log       *slog.Logger

	mu   sync.Mutex
	term context.Context // nil while another process has it
}

// New makes a Seat that this process does not have until Run has got it.
func New(elections Elections, name string, log *slog.Logger) *Seat {
	return &Seat{elections: elections, name: name, log: log}
}

// Run campaigns until ctx ends, and then gives the seat up.
func (s *Seat) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.serve(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot campaign; tried again", "seat", s.name, "error", err)
			_ = lifecycle.Sleep(ctx, again)
		}
	}
	return nil
}

// serve is one term.
func (s *Seat) serve(ctx context.Context) error {
	term, leave, err := s.elections.Hold(ctx, s.name)
	if err != nil {
		return err
	}
	defer leave()
	s.log.InfoContext(ctx, "this process leads", "seat", s.name)
	s.set(term)
	<-term.Done()
	s.clear()
	if ctx.Err() == nil {
		s.log.WarnContext(ctx, "this process leads no more", "seat", s.name)
	}
	return nil
}

func (s *Seat) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = nil
}

func (s *Seat) set(term context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = term
}

// Within gives a context that ends with ctx and with the term; had is false when this process does not have the seat. done has
// to be called when the work is done.
func (s *Seat) Within(ctx context.Context) (within context.Context, done func(), had bool) {
	within, cancel := context.WithCancel(ctx)
	if s == nil {
		return within, cancel, true
	}
	s.mu.Lock()
	term := s.term
	s.mu.Unlock()
	if term == nil || term.Err() != nil {
		cancel()
		return within, cancel, false
	}
	stop := context.AfterFunc(term, cancel)
	return within, func() { stop(); cancel() }, true
}

// Had says whether this process has the seat.
func (s *Seat) Had() bool {
	_, done, had := s.Within(context.Background())
	done()
	return had
}

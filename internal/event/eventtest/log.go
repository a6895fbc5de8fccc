package eventtest

import (
	"context"
	"sync"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
)

// Log is an event.Outbox in memory, for tests of what follows an outbox. It runs the suite itself.
type Log struct {
	mu      sync.Mutex
	events  []event.Event
	last    int64
	changed chan struct{} // closed and replaced at each Append
	fail    error
}

// NewLog is empty.
func NewLog() *Log { return &Log{changed: make(chan struct{})} }

// Append leaves an event for each snapshot, as one commit does.
func (l *Log) Append(snaps ...guarantee.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, snap := range snaps {
		l.last++
		l.events = append(l.events, event.Event{Seq: l.last, Snapshot: snap})
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Fail makes every method return err until it is called with nil.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// Read gives the events after seq.
func (l *Log) Read(ctx context.Context, after int64, limit int) ([]event.Event, error) {
	for {
		events, changed, err := l.read(after, limit)
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *Log) read(after int64, limit int) (events []event.Event, changed chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Seq > after && len(events) < limit {
			events = append(events, e)
		}
	}
	return events, l.changed, l.fail
}

// Trim forgets the events at or below seq.
func (l *Log) Trim(_ context.Context, seq int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.fail == nil && len(l.events) > 0 && l.events[0].Seq <= seq {
		l.events = l.events[1:]
	}
	return l.fail
}

// Bounds tells the first and last seq.
func (l *Log) Bounds(context.Context) (first, last int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last - int64(len(l.events)) + 1, l.last, l.fail
}

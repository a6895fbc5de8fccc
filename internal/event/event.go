// Package event carries what has happened from Guarantee to everyone who follows: Reference, live streams, later a bus.
//
// An Outbox holds the events durably, in the order of commits; one tail of it, Reference's Follower, feeds a Hub, and the Hub
// hands them to whoever is listening in this process. A listener that was cut off, or comes back later, reads the outbox from
// the last Seq that it has seen, as far as that reaches back, and subscribes again; what it then gets twice it tells by Seq.
// The Hub keeps nothing and waits for nobody.
package event

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
)

// Event says that a message has reached a new version. It is self-contained: the newest event of a message is its Snapshot.
type Event struct {
	Seq int64 // position in the outbox: grows in commit order, without regard to gaps
	guarantee.Snapshot
}

// Outbox is the port to the events that Guarantee's commits leave behind.
//
// Durability: an event is committed with the transition that it tells of. Ordering: by commit; a reader that has seen Seq n
// will never find a new event at or below n (I16). Consistency: none is skipped; after Trim the older ones are gone.
// Its conformance suite is eventtest.
type Outbox interface {
	// Read gives up to limit events after seq, and waits for one if there is none.
	Read(ctx context.Context, after int64, limit int) ([]Event, error)
	// Trim forgets the events at or below seq.
	Trim(ctx context.Context, seq int64) error
	// Bounds tells the first and last seq: last is the newest that Read has given or would give, 0 before the first; nothing
	// at or above first has been trimmed, and it is last+1 when everything has.
	Bounds(ctx context.Context) (first, last int64, err error)
}

// Hub hands each new event to live followers; a follower too slow for its buffer is cut off and told so.
// It is fed by one tail of the outbox.
type Hub struct {
	subscribe chan *Subscription
	leave     chan *Subscription
	publish   chan []Event
	done      chan struct{}
}

// Subscription is a live follower's view.
type Subscription struct {
	C      chan Event // closed when the follower was too slow or the hub stopped
	filter func(Event) bool
	hub    *Hub
}

// NewHub makes a Hub; Run has to be started.
func NewHub() *Hub {
	return &Hub{subscribe: make(chan *Subscription), leave: make(chan *Subscription), publish: make(chan []Event, 16), done: make(chan struct{})}
}

// Run serves until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	defer close(h.done)
	followers := map[*Subscription]bool{}
	drop := func(s *Subscription) {
		if followers[s] {
			delete(followers, s)
			close(s.C)
		}
	}
	for {
		select {
		case <-ctx.Done():
			for s := range followers {
				drop(s)
			}
			return nil
		case s := <-h.subscribe:
			followers[s] = true
		case s := <-h.leave:
			drop(s)
		case events := <-h.publish:
			for s := range followers {
				for _, e := range events {
					if !s.filter(e) {
						continue
					}
					select {
					case s.C <- e:
						continue
					default:
						drop(s)
					}
					break
				}
			}
		}
	}
}

// Publish hands events to the followers; it returns early when the hub has stopped.
func (h *Hub) Publish(events []Event) {
	select {
	case h.publish <- events:
	case <-h.done:
	}
}

// Subscribe follows the events that the filter lets through, from now on.
func (h *Hub) Subscribe(buffer int, filter func(Event) bool) *Subscription {
	s := &Subscription{C: make(chan Event, buffer), filter: filter, hub: h}
	select {
	case h.subscribe <- s:
	case <-h.done:
		close(s.C)
	}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	select {
	case s.hub.leave <- s:
	case <-s.hub.done:
	}
}

// Age is how long ago the event's message was updated, for lag metrics.
func (e Event) Age(now time.Time) time.Duration { return now.Sub(e.Updated) }

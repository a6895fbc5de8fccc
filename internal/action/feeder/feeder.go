// Package feeder is the queue of message ids that are due.
//
// It carries ids only, never a message's data. What is due is decided by Guarantee's commits; a feeder may give an id twice
// (the compare-and-swap in Guarantee sorts that out) but never forgets one.
package feeder

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/message"
)

// Feeder is the port to the queue.
//
// Durability: an id that a commit made due is handed out until a later commit says otherwise, whatever crashes between.
// Ordering: by due time, roughly; none is starved. Consistency: a claimed id is not handed out again until settled, while
// its claimer lives. Its conformance suite is feedertest.
type Feeder interface {
	// Claim waits until at least one id is due and gives at most limit of them, earliest first.
	Claim(ctx context.Context, limit int) ([]message.ID, error)
	// Settle ends claims: the ids may be handed out again when their messages are due.
	Settle(ctx context.Context, ids []message.ID) error
	// Depth counts the ids that are due now and tells since when the oldest has been.
	Depth(ctx context.Context) (Depth, error)
}

// Depth is the state of the queue.
type Depth struct {
	Due    int64
	Oldest time.Time // zero when nothing is due
}

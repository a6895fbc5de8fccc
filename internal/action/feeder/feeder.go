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
	// Claim waits until at least one id is due and gives at most limit of them, of those that it knows the earliest first.
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

// Nudges is the port by which it is told that messages may go on: what their action waits for may have happened. Whoever holds a
// message is perhaps another process than the one that learns of it.
//
// Durability: none is promised; a nudge is a hint, and a message that misses it goes on in its own time. Ordering: none. Consistency:
// when Nudge has returned nil, those of the messages that wait for a time and are claimed by nobody are due; the others may be in the
// hands of other processes, and those that listen there are told, often once and at times not at all. Its conformance suite is feedertest.
type Nudges interface {
	// Nudge tells that an action of these messages may go on. Ids of nobody are nothing.
	Nudge(ctx context.Context, action string, ids []message.ID) error
	// Listen calls heard with what other processes tell, and perhaps this one, until ctx ends. It goes on when the storage was away.
	Listen(ctx context.Context, heard func(action string, ids []message.ID))
}

// Table is the port to the rows that say what is due, for feeders whose ids travel over a bus. A row is free, handed out by a
// process, or taken by one.
//
// Durability: what is handed out or taken is free again when its process has ended; a crash of the database may free it, too, or
// undo that it was taken. Ordering: by due time. Consistency: a row is taken by one process at a time. Its conformance suite is
// feedertest.
type Table interface {
	// Hand waits until rows are due and free, hands out at most limit of them and gives their ids, earliest first.
	Hand(ctx context.Context, limit int) ([]message.ID, error)
	// Untaken gives those of the ids that this process has handed out and nobody has taken.
	Untaken(ctx context.Context, ids []message.ID) ([]message.ID, error)
	// Free makes those of the ids free again that this process has handed out and nobody has taken.
	Free(ctx context.Context, ids []message.ID) error
	// Take takes at most limit of the rows, the earliest, whoever has handed them out. It frees those that are not due any more.
	// rest are those that it could have taken too.
	Take(ctx context.Context, ids []message.ID, limit int) (taken, rest []message.ID, err error)
	// Settle ends takings: the rows are free.
	Settle(ctx context.Context, ids []message.ID) error
	// Depth counts the rows that are due now, whoever has them.
	Depth(ctx context.Context) (Depth, error)
	// FreeAll frees all that is handed out, by whatever process, and says how much it was.
	FreeAll(ctx context.Context) (int64, error)
}

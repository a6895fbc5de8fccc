package controlpoint

import (
	"context"
	"encoding/json"
	"time"

	"github.com/avalhq/aval/internal/message"
)

// Step is one effect: a message in a state that runs a control point.
type Step struct {
	Message message.ID
	State   string
}

// Phase says what is known of a request.
type Phase uint8

// The phases.
const (
	Sent   Phase = iota + 1 // it may have been sent, and may have been carried out
	Undone                  // it was not carried out: it never left, or the target refused it
	Done                    // it was carried out, and this is the result
)

// Entry is what is known of one step's request to one target.
type Entry struct {
	Target string
	Sends  int // how often it was about to be sent: 1 at first
	Phase  Phase
	At     time.Time       // of the last change
	Result json.RawMessage // of Done
}

// Journal is the port that keeps what became of requests with an outside effect (I5). Its suite is controlpointtest.
//
// Durability: what Begin and End have answered without an error survives a crash; after an error it is unknown whether
// they have happened, and Find tells. Ordering: none between steps. Consistency: Find sees each Begin and End that was
// answered before it was asked. Of two that Begin the same send one is given it, in whatever process they are.
type Journal interface {
	// Find gives the entries of a step, ordered by target.
	Find(ctx context.Context, step Step) ([]Entry, error)
	// Begin notes that a request is about to be sent to a target for the nth time, from 1. It gives false, and has noted
	// nothing, when n-1 is not how often it was begun before, or when it was Done.
	Begin(ctx context.Context, step Step, target string, n int, now time.Time) (bool, error)
	// End notes what became of the nth send: Undone or Done. What a later send has overtaken, and what is Done, stays.
	End(ctx context.Context, step Step, ended Entry) error
}

package signer

import (
	"context"
	"time"
)

// Standing is how far a request has come that was put.
type Standing struct {
	Request
	Number  int   // 1, and one more each time that the step asked again after a refusal
	Refused error // the problem because of which it will not be signed; nil while it may be
	Told    bool  // whether whoever asked has been told of the refusal
}

// Open is a request that was not answered yet, as it is listed.
type Open struct {
	Seq  int64 // position: grows in the order of commits, without regard to gaps
	Step Step
	Key  string
	Pool string
	At   time.Time // when it was put
}

// Refusal says that a request will not be carried out, and why.
type Refusal struct {
	Step    Step
	Number  int
	Because error // a problem; kept without its cause
}

// Requests is the port to the committed requests to sign, between those who ask and the signing workers, which may be other
// processes. A request authorises a decision; a worker decides nothing without one (A28).
//
// Durability: what returned nil is on stable storage, but for Close, which may be forgotten: then the request is listed again.
// Ordering: Open lists by commit; whoever has seen Seq n never finds a new request at or below n, and none is skipped (I16).
// Consistency: a step has one request that counts, and Decisions.Decide and Refuse exclude each other: what was decided is not
// refused, and Decide says signing-refused, for its whole batch, while the request that counts is refused. An error that is no
// refusal leaves the outcome unknown: Find tells. Fault points, ".before" and ".after" each: requests.put, requests.refuse.
// Its conformance suite is signertest.
type Requests interface {
	// Put commits requests. A step that has one keeps it, whatever the new one says, unless it was refused: then the new one counts.
	Put(ctx context.Context, requests []Request) error
	// Find gives the requests that count, of those steps that have one.
	Find(ctx context.Context, steps []Step) (map[Step]Standing, error)
	// Refuse keeps for ever why requests are not carried out. What is decided, refused or asked anew meanwhile stays as it is.
	Refuse(ctx context.Context, refusals []Refusal) error
	// Tell notes that whoever asked knows of the refusals of these steps.
	Tell(ctx context.Context, steps []Step) error
	// List gives up to limit open requests after seq, and none when there is none now.
	List(ctx context.Context, after int64, limit int) ([]Open, error)
	// Close ends requests that have been answered: they are listed no more. Refuse does so by itself.
	Close(ctx context.Context, steps []Step) error
	// Waiting counts the open requests, and tells since when the oldest one waits: the zero time when there is none.
	Waiting(ctx context.Context) (n int, oldest time.Time, err error)
}

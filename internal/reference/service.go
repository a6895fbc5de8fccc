package reference

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/problem"
)

const defaultPatience = 3 * time.Second

// Service answers queries from Reference, and holds it to Guarantee.
type Service struct {
	Source   Source
	Store    Store
	Repairs  Repairs
	Outbox   event.Outbox  // tells Verify what the Follower has still to apply
	Patience time.Duration // how long Verify waits for a Follower that does not get on; 0 means 3 s
}

// List answers a query.
func (s *Service) List(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 0 || q.Limit > MaxLimit {
		return Page{}, problem.New(problem.Invalid, "limit-out-of-range", "a list gives 1 to %d messages at once; ask for so many", MaxLimit)
	}
	return s.Store.List(ctx, q)
}

// Counts groups the messages of one client ("" for all) by type, state and status.
func (s *Service) Counts(ctx context.Context, client string) ([]Count, error) {
	return s.Store.Counts(ctx, client)
}

// Rebuild makes Reference equal to Guarantee while the system runs; progress may be nil. It reads everything and trusts
// nothing that is there. What is cut off can be begun again at any time.
func (s *Service) Rebuild(ctx context.Context, progress func(Progress)) error {
	b := &rebuilder{source: s.Source, store: s.Store, repairs: s.Repairs, progress: progress}
	return b.run(ctx)
}

package signer

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/problem"
)

// Tend goes on with what Recover does at the start, for as long as other processes use the same keys: keys whose holders have
// failed are set aside and compared with their chain, though nobody wants them (I10). One process of several does it, the one
// that has the seat. It ends with ctx.
func (s *Signer) Tend(ctx context.Context, process string, seat *leader.Seat, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	stuck := map[string]string{} // by key: why it stays aside, to say it once
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if term, done, leads := seat.Within(ctx); leads {
			if err := s.tend(term, process, stuck); err != nil && term.Err() == nil {
				s.options.Log.WarnContext(ctx, "the keys could not be looked at; tried again", "error", err)
			}
			done()
		}
	}
}

func (s *Signer) tend(ctx context.Context, process string, stuck map[string]string) error {
	if err := s.setAside(ctx, process); err != nil {
		return err
	}
	keys, err := s.registry.List(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Status != key.Quarantined {
			delete(stuck, k.ID)
			continue
		}
		err := s.reconcile(ctx, k.ID)
		if err != nil && problem.From(err).Code != stuck[k.ID] && ctx.Err() == nil {
			stuck[k.ID] = problem.From(err).Code
			s.options.Log.ErrorContext(ctx, "key stays quarantined", "key", k.ID, "chain", k.Chain, "address", k.Address, "holder", k.Holder, "error", err)
		}
	}
	return ctx.Err()
}

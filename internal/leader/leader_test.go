package leader_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/avalhq/aval/internal/leader"
)

// polls is an election that the test decides.
type polls struct {
	terms chan context.CancelFunc // each is given once, to end the term with
	fail  chan error
}

func (p *polls) Hold(ctx context.Context, _ string) (context.Context, func(), error) {
	term, end := context.WithCancel(ctx)
	select {
	case p.terms <- end:
		return term, end, nil
	case err := <-p.fail:
		end()
		return nil, nil, err
	case <-ctx.Done():
		end()
		return nil, nil, ctx.Err()
	}
}

// TestWorkEndsWithTheTerm: what runs within the seat is told at once when it is lost, and nothing new begins until it is had again.
func TestWorkEndsWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &polls{terms: make(chan context.CancelFunc), fail: make(chan error)}
		s := leader.New(p, "a", slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- s.Run(ctx) }()
		if _, done, had := s.Within(ctx); had {
			done()
			t.Error("it has the seat before it was elected")
		}
		p.fail <- errors.New("nobody counts the votes")
		end := <-p.terms
		synctest.Wait()
		within, done, had := s.Within(ctx)
		defer done()
		if !had || !s.Had() || within.Err() != nil {
			t.Error("it was elected and does not have the seat")
		}
		end()
		synctest.Wait()
		if within.Err() == nil || s.Had() {
			t.Error("the work went on after the seat was lost")
		}
		<-p.terms
		synctest.Wait()
		if !s.Had() {
			t.Error("elected again, it does not have the seat")
		}
		stop()
		if err := <-ran; err != nil || s.Had() {
			t.Errorf("stopped, it has the seat: %v, %v", s.Had(), err)
		}
	})
}

// TestNobodyElseNeedsNoElection: a nil Seat is for those who never share.
func TestNobodyElseNeedsNoElection(t *testing.T) {
	var s *leader.Seat
	within, done, had := s.Within(t.Context())
	done()
	if !had || within.Err() == nil {
		t.Errorf("had is %v, and done ended it with %v", had, within.Err())
	}
}

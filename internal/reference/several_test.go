package reference_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/reference"
)

// elected gives the seat once the test says so.
type elected chan struct{}

// Hold waits for the test.
func (e elected) Hold(ctx context.Context, _ string) (context.Context, func(), error) {
	select {
	case <-e:
		term, end := context.WithCancel(ctx)
		return term, end, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// TestAFollowerWithoutTheSeatWaitsForTheOneThatLeads: it writes nothing and hands nothing on before it was applied; elected, it goes on
// where the other one stopped, and nothing is handed on twice.
func TestAFollowerWithoutTheSeatWaitsForTheOneThatLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		store := &recording{Model: h.model}
		second := &house{Truth: h.Truth, model: h.model}
		election := make(elected)
		seat := leader.New(election, "a", slog.New(slog.DiscardHandler))
		second.f = &reference.Follower{Outbox: h.Log, Source: h.Truth, Store: store, Repairs: h.model, Hub: event.NewHub(), Seat: seat}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = seat.Run(ctx) }()
		stop := second.start(t)
		sub := second.f.Hub.Subscribe(100, func(event.Event) bool { return true })
		h.Accept("cli_a", 3)
		settle()
		h.wantPosition(t, 0)
		leads := h.start(t)
		settle()
		h.wantPosition(t, 3)
		leads()
		if len(store.batches) > 0 {
			t.Errorf("without the seat it applied %v", store.batches)
		}
		h.Accept("cli_a", 2)
		settle()
		h.wantPosition(t, 3)
		election <- struct{}{}
		settle()
		h.wantPosition(t, 5)
		stop()
		agree(t, h.Truth, h.model)
		var seqs []int64
		for e := range sub.C {
			seqs = append(seqs, e.Seq)
		}
		if !slices.Equal(seqs, []int64{1, 2, 3, 4, 5}) {
			t.Errorf("the hub got %v, want each event once", seqs)
		}
	})
}

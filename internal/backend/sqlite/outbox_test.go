package sqlite

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/event/eventtest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
)

func TestOutbox(t *testing.T) {
	eventtest.Run(t, func(t *testing.T) eventtest.Subject {
		faults := fault.New()
		db, _ := openRecord(t, filepath.Join(t.TempDir(), "aval.db"), faults)
		g, o := NewGuarantee(db), NewOutbox(db)
		stock := accepted(t, g, 600)
		if err := o.Trim(t.Context(), int64(len(stock))); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		return eventtest.Subject{Outbox: o, Faults: faults, Write: "guarantee.commit", Commit: func(ctx context.Context, n int) ([]message.ID, error) {
			mu.Lock()
			taken := stock[:n]
			stock = stock[n:]
			mu.Unlock()
			return commitStep(ctx, g, taken)
		}}
	})
}

// accepted has messages accepted, many at once.
func accepted(t *testing.T, g *Guarantee, n int) []guarantee.Record {
	t.Helper()
	recs := make([]guarantee.Record, n)
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < n; i += 50 {
				recs[i] = guaranteetest.Accept(t, g, "cli_a", "a text")
			}
		})
	}
	wg.Wait()
	return recs
}

// commitStep moves the messages one step, together.
func commitStep(ctx context.Context, g *Guarantee, recs []guarantee.Record) (ids []message.ID, err error) {
	var ts []guarantee.Transition
	for _, rec := range recs {
		ids, ts = append(ids, rec.ID), append(ts, guaranteetest.Step(rec, "next", guarantee.Running))
	}
	refused, err := g.Commit(ctx, ts)
	for _, one := range refused {
		if err == nil {
			err = one
		}
	}
	return ids, err
}

package eventtest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/event/eventtest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

func TestLog(t *testing.T) {
	eventtest.Run(t, func(*testing.T) eventtest.Subject {
		log, faults := eventtest.NewLog(), fault.New()
		return eventtest.Subject{Outbox: log, Faults: faults, Write: "log", Commit: func(_ context.Context, n int) ([]message.ID, error) {
			if err := faults.Hit("log.before"); err != nil {
				return nil, err
			}
			var ids []message.ID
			var snaps []guarantee.Snapshot
			for range n {
				ids = append(ids, message.NewID())
				snaps = append(snaps, guarantee.Snapshot{
					ID: ids[len(ids)-1], Version: 1, State: "begin", Status: guarantee.Running,
					Accepted: time.Now(), Updated: time.Now(), Attributes: guarantee.Attributes{Client: "cli_a"},
				})
			}
			log.Append(snaps...)
			return ids, faults.Hit("log.after")
		}}
	})
}

// TestReadersShareTheLog runs Trim beside readers: the race detector's business.
func TestReadersShareTheLog(t *testing.T) {
	log := eventtest.NewLog()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for after := int64(0); after < 100; {
				events, err := log.Read(t.Context(), after, 10)
				if err != nil {
					t.Error(err)
					return
				}
				after = events[len(events)-1].Seq
			}
		})
	}
	for i := range int64(100) {
		log.Append(guarantee.Snapshot{ID: message.NewID()})
		if err := log.Trim(t.Context(), i-50); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

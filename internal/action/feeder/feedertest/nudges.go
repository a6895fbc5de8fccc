package feedertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
)

func nudge(t *testing.T, n feeder.Nudges, ids ...message.ID) {
	t.Helper()
	if err := n.Nudge(t.Context(), "confirm", ids); err != nil {
		t.Fatal(err)
	}
}

func nudgedIsDue(t *testing.T, b Backend) {
	rec := waits(t, b)
	nudge(t, b.Nudges, message.NewID(), rec.ID)
	if ids := claim(t, b.Feeder, 10); !slices.Equal(ids, []message.ID{rec.ID}) {
		t.Fatalf("claimed %v, want %s", ids, rec.ID)
	}
	rec.Version++
	commit(t, b.Store, guaranteetest.Step(rec, "Wait", guarantee.Waiting)) // once
	settle(t, b.Feeder, rec.ID)
	none(t, b.Feeder)
}

func claimedIsNotNudged(t *testing.T, b Backend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	claim(t, b.Feeder, 10)
	nudge(t, b.Nudges, rec.ID)
	none(t, b.Feeder)
}

func whatDoesNotWaitIsNotNudged(t *testing.T, b Backend) {
	for _, status := range []guarantee.Status{guarantee.Succeeded, guarantee.Parked} {
		rec := guaranteetest.Accept(t, b.Store, "cli_a", string(status))
		settle(t, b.Feeder, claim(t, b.Feeder, 10)...)
		commit(t, b.Store, guaranteetest.Step(rec, "End", status))
		nudge(t, b.Nudges, rec.ID)
		none(t, b.Feeder)
	}
}

// othersHear nudges until another process has heard of all: it may not be listening yet.
func othersHear(t *testing.T, b Backend) {
	if b.Alone != (b.Beside == nil) {
		t.Fatal("the backend has to say that it is alone, or who is beside it")
	}
	if b.Alone {
		t.Log("there is no other process, ever, as the backend says")
		return
	}
	var ids []message.ID
	for range 1000 {
		ids = append(ids, message.NewID())
	}
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	heard := map[string]bool{}
	var listening sync.WaitGroup
	defer listening.Wait()
	defer stop()
	other := b.Beside(t)
	listening.Go(func() {
		other.Listen(ctx, func(action string, ids []message.ID) {
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				heard[fmt.Sprint(action, id)] = true
			}
		})
	})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		nudge(t, b.Nudges, ids...)
		mu.Lock()
		n, all := len(heard), !slices.ContainsFunc(ids, func(id message.ID) bool { return !heard[fmt.Sprint("confirm", id)] })
		mu.Unlock()
		if all && n == len(ids) {
			return
		}
		if n > len(ids) || time.Since(began) > 30*time.Second {
			t.Fatalf("of %d messages another process has heard of %d", len(ids), n)
		}
	}
}

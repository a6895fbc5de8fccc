package event_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// The bubble of synctest makes waiting exact, and fails a test that leaves a goroutine behind.

func running(t *testing.T) (h *event.Hub, stop func()) {
	h = event.NewHub()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("the hub ended with %v", err)
		}
	})
	return h, func() { cancel(); wg.Wait() }
}

func of(seq int64, id message.ID) event.Event {
	return event.Event{Seq: seq, Snapshot: guarantee.Snapshot{ID: id}}
}

func all(event.Event) bool { return true }

// drain reads what is there, and tells whether the subscription was closed.
func drain(s *event.Subscription) (seqs []int64, closed bool) {
	for {
		select {
		case e, open := <-s.C:
			if !open {
				return seqs, true
			}
			seqs = append(seqs, e.Seq)
		default:
			return seqs, false
		}
	}
}

func TestFollowersGetWhatTheyAskFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(t)
		defer stop()
		a := h.Subscribe(10, all)
		b := h.Subscribe(10, func(e event.Event) bool { return e.ID == "b" })
		h.Publish([]event.Event{of(1, "a"), of(2, "b"), of(3, "a")})
		h.Publish([]event.Event{of(4, "b")})
		synctest.Wait()
		if got, _ := drain(a); len(got) != 4 || got[0] != 1 || got[3] != 4 {
			t.Errorf("the follower of everything got %v", got)
		}
		if got, _ := drain(b); len(got) != 2 || got[0] != 2 || got[1] != 4 {
			t.Errorf("the follower of b got %v, want [2 4]", got)
		}
	})
}

func TestSlowFollowerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(t)
		defer stop()
		slow, quick := h.Subscribe(2, all), h.Subscribe(10, all)
		h.Publish([]event.Event{of(1, "a"), of(2, "a"), of(3, "a")})
		h.Publish([]event.Event{of(4, "a")})
		synctest.Wait()
		if got, closed := drain(slow); len(got) != 2 || !closed {
			t.Errorf("the slow follower got %v, closed %v; want its 2 events without a gap, and to be told", got, closed)
		}
		if got, closed := drain(quick); len(got) != 4 || closed {
			t.Errorf("the quick follower got %v, closed %v; want all 4", got, closed)
		}
		slow.Close() // after it was cut off: no matter
	})
}

func TestClosedFollowerGetsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(t)
		defer stop()
		s := h.Subscribe(10, all)
		h.Publish([]event.Event{of(1, "a")})
		synctest.Wait()
		s.Close()
		s.Close() // twice is no matter
		h.Publish([]event.Event{of(2, "a")})
		synctest.Wait()
		if got, closed := drain(s); len(got) != 1 || !closed {
			t.Errorf("got %v, closed %v; want what came before it closed", got, closed)
		}
	})
}

func TestStoppedHubLetsEveryoneGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(t)
		s := h.Subscribe(1, all)
		stop()
		if _, closed := drain(s); !closed {
			t.Error("the follower was not told that the hub stopped")
		}
		for range 100 { // more than any buffer holds
			h.Publish([]event.Event{of(1, "a")})
		}
		if _, closed := drain(h.Subscribe(1, all)); !closed {
			t.Error("who subscribes after the end has to be told")
		}
		s.Close()
	})
}

func TestFollowersComeAndGoUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(t)
		defer stop()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 20 {
					s := h.Subscribe(1, all)
					last := int64(0)
					for e := range s.C {
						if e.Seq != last+1 && last != 0 {
							t.Errorf("seq %d came after %d", e.Seq, last)
						}
						if last = e.Seq; last%3 == 0 {
							break
						}
					}
					s.Close()
				}
			})
		}
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		for seq := int64(1); ; seq++ {
			select {
			case <-ended:
				return
			default:
				h.Publish([]event.Event{of(seq, "a")})
			}
		}
	})
}

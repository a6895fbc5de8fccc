package reference_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

// Time stands still in these tests but where everyone waits (synctest), so that pauses cost nothing and are exact.

var errDown = errors.New("the disk is gone")

// house is a Guarantee, a Reference and what is between them.
type house struct {
	*referencetest.Truth
	model *referencetest.Model
	f     *reference.Follower
	lags  []reference.Lag
}

func newHouse() *house {
	h := &house{Truth: referencetest.NewTruth(), model: referencetest.NewModel()}
	h.f = &reference.Follower{Outbox: h.Log, Source: h.Truth, Store: h.model, Repairs: h.model, Hub: event.NewHub()}
	h.f.Observe = func(l reference.Lag) { h.lags = append(h.lags, l) }
	return h
}

// start runs the follower and its hub until the func given is called.
func (h *house) start(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{h.f.Run, h.f.Hub.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// settle lets a simulated second pass, in which the follower does whatever it can.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// agree compares all rows with Guarantee (I19).
func agree(t *testing.T, truth *referencetest.Truth, repairs reference.Repairs) {
	t.Helper()
	rows, err := repairs.Walk(t.Context(), "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if want := truth.All(); !slices.Equal(rows, want) {
		t.Errorf("Reference is\n%v, Guarantee is\n%v", rows, want)
	}
}

func (h *house) wantPosition(t *testing.T, want int64) {
	t.Helper()
	if got, err := h.model.Position(t.Context()); got != want || err != nil {
		t.Errorf("the position is %d (%v), want %d", got, err, want)
	}
}

func TestFollowerAppliesAndHandsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		ids := h.Accept("cli_a", 3)
		stop := h.start(t)
		sub := h.f.Hub.Subscribe(100, func(event.Event) bool { return true })
		settle()
		for _, state := range []string{"sign", "send", "confirm"} {
			h.Move(ids[1], state, guarantee.Waiting)
		}
		h.Move(ids[2], "done", guarantee.Succeeded)
		settle()
		stop()
		agree(t, h.Truth, h.model)
		h.wantPosition(t, 7)
		var seqs []int64
		for e := range sub.C {
			seqs = append(seqs, e.Seq)
		}
		if len(seqs) == 7 {
			seqs = seqs[3:] // it came before the first batch was handed on
		}
		if !slices.Equal(seqs, []int64{4, 5, 6, 7}) {
			t.Errorf("the hub got %v, want every event after it was joined", seqs)
		}
	})
}

// recording notes the rows of each Apply and can report as failed what it has stored.
type recording struct {
	*referencetest.Model
	batches [][]reference.Row
	lie     int // Apply calls from now on until one is reported as failed
}

func (r *recording) Apply(ctx context.Context, rows []reference.Row, seq int64) error {
	r.batches = append(r.batches, rows)
	if err := r.Model.Apply(ctx, rows, seq); err != nil {
		return err
	}
	if r.lie--; r.lie == 0 {
		return errDown
	}
	return nil
}

func TestFollowerCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		store := &recording{Model: h.model}
		h.f.Store = store
		id := h.Accept("cli_a", 1)[0]
		for range 50 {
			h.Move(id, "sign", guarantee.Running)
		}
		stop := h.start(t)
		settle()
		stop()
		agree(t, h.Truth, h.model)
		if len(store.batches) != 1 || len(store.batches[0]) != 1 {
			t.Errorf("51 events of a message became %d batches, want 1 with 1 row", len(store.batches))
		}
	})
}

// slow takes its time to apply, a hundredth of it for each row.
type slow struct {
	recording
	takes time.Duration
}

func (s *slow) Apply(ctx context.Context, rows []reference.Row, seq int64) error {
	time.Sleep(s.takes * time.Duration(len(rows)) / 100)
	return s.recording.Apply(ctx, rows, seq)
}

// TestFollowerRestsUnderLoad: where applying takes its time, what happens to a message in the meantime is applied at once, but
// not much later; few events are applied as they come, and those that wait already are not kept waiting.
func TestFollowerRestsUnderLoad(t *testing.T) {
	for name, c := range map[string]struct {
		messages, batch int
		takes           time.Duration // to apply 100 rows
		least, most     int           // batches, for 40 moves of each message in as many times 10 ms
	}{
		"few":           {10, 0, 5 * time.Millisecond, 38, 41},
		"many":          {200, 0, 5 * time.Millisecond, 4, 6},
		"very slow":     {200, 0, 50 * time.Millisecond, 2, 4},
		"always behind": {200, 100, 5 * time.Millisecond, 80, 82},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				store := &slow{recording: recording{Model: h.model}, takes: c.takes}
				h.f.Store, h.f.Batch = store, c.batch
				stop := h.start(t)
				ids := h.Accept("cli_a", c.messages)
				settle()
				store.batches, h.lags = nil, nil
				for range 40 {
					h.MoveAll(ids, "sign", guarantee.Running)
					time.Sleep(10 * time.Millisecond)
				}
				settle()
				stop()
				agree(t, h.Truth, h.model)
				if n := len(store.batches); n < c.least || n > c.most {
					t.Errorf("%d batches, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}

func TestFollowerHandsOnWhatWasReportedAsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.f.Store = &recording{Model: h.model, lie: 1}
		stop := h.start(t)
		sub := h.f.Hub.Subscribe(100, func(event.Event) bool { return true })
		h.Accept("cli_a", 2)
		settle()
		stop()
		agree(t, h.Truth, h.model)
		got := 0
		for range sub.C {
			got++
		}
		if got != 2 {
			t.Errorf("the hub got %d events, want 2", got)
		}
	})
}

func TestFollowerTriesAgainForAsLongAsItTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		stop := h.start(t)
		defer stop()
		h.Accept("cli_a", 1)
		settle()
		h.model.Fail(errDown)
		h.Accept("cli_a", 5)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(h.lags); n < 100 || n > 3600 {
			t.Errorf("it tried %d times in an hour; want pauses that grow to some seconds", n)
		}
		if lag := h.lags[len(h.lags)-1]; lag.Behind != 5 || !errors.Is(lag.Err, errDown) {
			t.Errorf("the lag is %+v, want 5 events and the cause", lag)
		}
		h.model.Fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		agree(t, h.Truth, h.model)
		if lag := h.lags[len(h.lags)-1]; lag.Behind != 0 || lag.Err != nil {
			t.Errorf("the lag is %+v, want none", lag)
		}
		h.Log.Fail(errDown)
		h.Accept("cli_a", 1)
		settle()
		h.Log.Fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		agree(t, h.Truth, h.model)
	})
}

func TestFollowerReportsHowFarItIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.f.Batch = 10
		h.Accept("cli_a", 25)
		stop := h.start(t)
		settle()
		stop()
		var behind []int64
		for _, lag := range h.lags {
			behind = append(behind, lag.Behind)
		}
		if !slices.Equal(behind, []int64{15, 5, 0}) {
			t.Errorf("it was behind by %v, want 15, 5, 0", behind)
		}
	})
}

func TestFollowerTrimsBehindItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.f.Keep = 100
		stop := h.start(t)
		defer stop()
		h.Accept("cli_a", 1000)
		settle()
		if first, _, _ := h.Log.Bounds(t.Context()); first != 1 {
			t.Errorf("the outbox begins at %d; it is not worth a trim yet", first)
		}
		h.Accept("cli_a", 500)
		settle()
		if first, last, _ := h.Log.Bounds(t.Context()); first != 1401 || last != 1500 {
			t.Errorf("the outbox holds %d to %d, want 1401 to 1500", first, last)
		}
	})
}

// gone makes an outbox that has forgotten what Reference has still to apply.
func gone(t *testing.T, h *house) []message.ID {
	ids := h.Accept("cli_a", 20)
	h.Move(ids[3], "done", guarantee.Succeeded)
	if err := h.Log.Trim(t.Context(), 21); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestFollowerRebuildsWhatTheOutboxHasForgotten(t *testing.T) {
	tests := map[string]func(t *testing.T, h *house){
		"new file": func(*testing.T, *house) {},
		"new file, outbox partly there": func(_ *testing.T, h *house) {
			h.Accept("cli_a", 2)
		},
		"file older than the outbox, with damage": func(t *testing.T, h *house) {
			rows := h.All()
			ahead, odd, extra := rows[0], rows[1], rows[2]
			ahead.Version, odd.Reason, extra.ID = 40, "invented", message.NewID()
			if err := h.model.Apply(t.Context(), []reference.Row{ahead, odd, extra}, 7); err != nil {
				t.Fatal(err)
			}
		},
		"file of another Guarantee, that had come further": func(t *testing.T, h *house) {
			extra := h.All()[0]
			extra.ID = message.NewID()
			if err := h.model.Apply(t.Context(), []reference.Row{extra}, 5000); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				ids := gone(t, h)
				prepare(t, h)
				stop := h.start(t)
				settle()
				agree(t, h.Truth, h.model)
				_, last, _ := h.Log.Bounds(t.Context())
				h.wantPosition(t, last)
				h.Move(ids[5], "sign", guarantee.Running)
				settle()
				stop()
				agree(t, h.Truth, h.model)
				h.wantPosition(t, last+1)
			})
		})
	}
}

func TestFollowerOfAnEmptyGuaranteeForgetsTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		if err := h.model.Apply(t.Context(), []reference.Row{{ID: message.NewID(), Version: 3}}, 50); err != nil {
			t.Fatal(err)
		}
		stop := h.start(t)
		settle()
		h.wantPosition(t, 0)
		stop()
		h.Accept("cli_a", 60) // past the old position
		h.f = &reference.Follower{Outbox: h.Log, Source: h.Truth, Store: h.model, Repairs: h.model, Hub: event.NewHub()}
		stop = h.start(t)
		settle()
		stop()
		agree(t, h.Truth, h.model)
	})
}

func TestFollowerStopsWhileItWaits(t *testing.T) {
	for name, fail := range map[string]error{"for an event": nil, "for the next try": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				h.model.Fail(fail)
				stop := h.start(t)
				settle()
				stop() // the bubble fails when a goroutine stays
			})
		})
	}
}

package keytest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
)

// RunLinear lets callers in every one of the registries lease, release, read and reconcile a few keys at once, while writes
// fail, before and after they are stored. A checker then looks, key by key, for an order in which one caller after the other
// would have been told the same (I8, I9, I10). The registries are on one storage, each as a process of its own that lives.
//
// Troubles come over the storage meanwhile, one after the other, and the callers go on for as long: then a call may fail without its
// outcome being known, and a process may be taken for dead, whose leases others set aside.
func RunLinear(t *testing.T, registries []key.Registry, faults *fault.Points, troubles ...func()) {
	histories := map[string]*history{}
	for range 2 {
		histories[add(t, registries[0], "").ID] = &history{begun: time.Now(), troubled: len(troubles) > 0}
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, trouble := range troubles {
			trouble()
		}
	}()
	for _, side := range []string{".before", ".after"} {
		for nth, point := range []string{"keys.release", "keys.lease", "keys.reconcile"} {
			faults.Arm(point+side, fault.Fail, 9+7*nth)
		}
	}
	var callers sync.WaitGroup
	for id, h := range histories {
		for n := range 3 * len(registries) {
			callers.Go(func() {
				c := &caller{r: registries[n%len(registries)], id: id, holder: fmt.Sprintf("caller-%d/%s", n, typeid.New("w")), history: h, number: n}
				for turn := 0; turn < 14 || c.waits(over, turn); turn++ {
					c.turn(t, turn)
				}
			})
		}
	}
	callers.Wait()
	for id, h := range histories {
		began := time.Now()
		if result := porcupine.CheckOperationsTimeout(h.model().ToModel(), h.operations, 2*time.Minute); result != porcupine.Ok {
			t.Errorf("what %d concurrent calls were told of %s fits no order: %s", len(h.operations), id, result)
		}
		t.Logf("%d calls, checked in %v", len(h.operations), time.Since(began).Round(time.Millisecond))
	}
}

// asked and told are one call for the checker.
type asked struct {
	call  string // "lease", "release", "get", "reconcile"
	fence uint64 // of the lease to release
}

type told struct {
	outcome string // "done", "refused", "quarantined"; "open" when it may have happened or not
	status  key.Status
	fence   uint64
}

// held is the state of a key in the model. Nobody knows of a lost lease: its grant was reported as failed.
type held struct {
	status key.Status
	fence  uint64
	lost   bool
}

// history is what was asked and told about one key.
type history struct {
	mu         sync.Mutex
	begun      time.Time
	troubled   bool // the storage fails at times, and with it processes
	operations []porcupine.Operation
}

// model is a registry with one key, said in a few lines. Who meets a lost lease may set it aside at any time.
func (h *history) model() *porcupine.NondeterministicModel {
	return &porcupine.NondeterministicModel{
		Init: func() []any { return []any{held{status: key.Free}} },
		Step: func(state, input, output any) []any {
			s := state.(held)
			next := s.step(input.(asked), output.(told))
			if s.lost || h.troubled && s.status == key.Leased {
				next = append(next, held{status: key.Quarantined, fence: s.fence}.step(input.(asked), output.(told))...)
			}
			return next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

// step gives the states that the key can have after a call was told this; none if it cannot have been told so.
func (s held) step(in asked, out told) []any {
	next, fits := s, true
	switch in.call {
	case "lease":
		fits = s.status == key.Free && out.outcome != "refused"
		next = held{status: key.Leased, fence: s.fence + 1, lost: out.outcome == "open"}
		if out.outcome == "quarantined" {
			next, fits = s, s.status == key.Quarantined
		} else if out.outcome == "done" {
			fits = fits && out.fence == next.fence
		}
	case "release":
		fits = s.status == key.Leased && s.fence == in.fence
		next = held{status: key.Free, fence: s.fence}
		if out.outcome == "refused" {
			next, fits = s, !fits
		}
	case "get":
		fits = out.status == s.status && out.fence == s.fence
	case "reconcile":
		if s.status == key.Quarantined {
			next.status = key.Free
		}
	}
	var states []any
	if out.outcome == "open" {
		s.lost = s.lost || in.call == "release" && s.fence == in.fence // it may be set aside: nobody works under it any more
		states = append(states, s)
	}
	if fits {
		states = append(states, next)
	}
	return states
}

// caller asks, and notes when and what it was told.
type caller struct {
	r          key.Registry
	id, holder string
	number     int
	history    *history
	leases     []key.Lease
}

// turn is a lease with what may come between it and its release, or a call of somebody who holds nothing.
func (c *caller) turn(t *testing.T, turn int) {
	switch (c.number + turn) % 4 {
	case 0:
		c.note(t, asked{call: "reconcile"}, func() (told, error) { return told{}, c.r.Reconcile(t.Context(), c.id, 0) })
	case 1:
		c.note(t, asked{call: "get"}, func() (told, error) {
			k, err := c.r.Get(t.Context(), c.id)
			return told{status: k.Status, fence: k.Fence}, err
		})
	default:
		c.lease(t)
	}
	if len(c.leases) > 0 { // often ended already
		l := c.leases[max(0, len(c.leases)-1-turn%2)]
		c.note(t, asked{"release", l.Fence}, func() (told, error) { return told{}, c.r.Release(t.Context(), l) })
	}
}

// waits goes slower while there is trouble, so that the history stays short enough to be checked.
func (c *caller) waits(over <-chan struct{}, turn int) bool {
	select {
	case <-over:
		return false
	case <-time.After(time.Duration(50+10*c.number) * time.Millisecond):
		return turn < 60
	}
}

func (c *caller) lease(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	c.note(t, asked{call: "lease"}, func() (told, error) {
		l, err := c.r.Lease(ctx, key.Request{Holder: c.holder, Key: c.id, TTL: long})
		if err == nil {
			c.leases = append(c.leases, l)
		}
		return told{fence: l.Fence}, err
	})
}

func (c *caller) note(t *testing.T, in asked, call func() (told, error)) {
	begin := time.Since(c.history.begun).Nanoseconds()
	out, err := call()
	end := time.Since(c.history.begun).Nanoseconds()
	switch {
	case err == nil:
		out.outcome = "done"
	case errors.Is(err, key.ErrStale):
		out.outcome = "refused"
	case errors.Is(err, key.ErrQuarantined):
		out.outcome = "quarantined"
	case errors.Is(err, fault.ErrInjected):
		out.outcome = "open"
	case errors.Is(err, key.ErrBusy): // the time may have been over in the middle of a write, which can happen yet
		out.outcome, end = "open", math.MaxInt64
	case c.history.troubled && problem.From(err).Kind == problem.Unavailable:
		out.outcome, end = "open", math.MaxInt64 // it can happen yet
	default:
		t.Errorf("%+v: %v", in, err)
	}
	if out.outcome == "open" && in.call == "get" {
		return // it tells nothing, and changes nothing
	}
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	c.history.operations = append(c.history.operations, porcupine.Operation{ClientId: c.number, Input: in, Output: out, Call: begin, Return: end})
}

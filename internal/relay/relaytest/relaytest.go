// Package relaytest is the conformance suite of relay.Cursors. A backend runs it with Run; nothing in it can be left out.
package relaytest

import (
	"errors"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/relay"
)

// Harness is a backend under test.
type Harness struct {
	// Open opens it on the same storage again, as the next process does; what was opened before has ended.
	Open func(t testing.TB) relay.Cursors
	// Faults are those that it was opened with.
	Faults *fault.Points
}

// Run runs the whole suite; each test gets storage of its own.
func Run(t *testing.T, fresh func(t testing.TB) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/CursorsAreKept":          kept,
			"basic/Forgotten":               forgotten,
			"concurrency/TheFurthestCounts": furthest,
			"faults/Advance":                advanceFaults,
		},
		Lacks: map[conform.Tier]string{
			conform.Transactions: "a cursor is one row, and nothing changes with it",
		},
	}.Run(t, func(t *testing.T) Harness { return fresh(t) })
}

func at(t *testing.T, c relay.Cursors, source string, want int64) {
	t.Helper()
	if seq, err := c.Cursor(t.Context(), source); err != nil || seq != want {
		t.Errorf("the cursor of %s is %d, %v; want %d", source, seq, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kept(t *testing.T, h Harness) {
	c := h.Open(t)
	at(t, c, "one", 0)
	must(t, c.Advance(t.Context(), "one", 7))
	must(t, c.Advance(t.Context(), "two", 1<<40))
	must(t, c.Advance(t.Context(), "one", 5))
	c = h.Open(t)
	at(t, c, "one", 7)
	at(t, c, "two", 1<<40)
}

func forgotten(t *testing.T, h Harness) {
	c := h.Open(t)
	must(t, c.Advance(t.Context(), "one", 7))
	must(t, c.Forget(t.Context(), "one"))
	must(t, c.Forget(t.Context(), "none"))
	at(t, c, "one", 0)
}

func furthest(t *testing.T, h Harness) {
	c := h.Open(t)
	var all sync.WaitGroup
	for worker := range int64(8) {
		all.Go(func() {
			for n := range int64(20) {
				if err := c.Advance(t.Context(), "one", n*8+worker); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	at(t, c, "one", 159)
}

func advanceFaults(t *testing.T, h Harness) {
	c := h.Open(t)
	want := int64(0)
	for n, side := range []string{".before", ".after"} {
		h.Faults.Arm("relay.advance"+side, fault.Fail, 1)
		if err := c.Advance(t.Context(), "one", int64(n)+5); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("advance%s: %v; want the injected failure", side, err)
		}
		if side == ".after" {
			want = int64(n) + 5
		}
		c = h.Open(t)
		at(t, c, "one", want)
	}
}

// Package leadertest is the conformance suite of leader.Elections.
package leadertest

import (
	"context"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/leader"
)

// Harness is what the suite needs of a backend.
type Harness struct {
	// Join gives the elections as the next process sees them, and what cuts that process off from them.
	Join func(t *testing.T) (e leader.Elections, cut func())
}

// patience is how long anything may take that has to happen. A seat is taken over within seconds, on a machine that has the time.
const patience = time.Minute

// Run runs the suite; open makes elections that nobody has stood for.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/a seat is given":                               given,
			"basic/its term ends with the campaign's context":     ends,
			"basic/seats are apart":                               apart,
			"concurrency/one process has it":                      exclusive,
			"concurrency/who leaves hands it on":                  handedOn,
			"faults/who is cut off stops, and another takes over": takenOver,
			"faults/who was cut off can have it again":            regained,
			"basic/waiting can be given up":                       givenUp,
		},
		Lacks: map[conform.Tier]string{
			conform.Transactions: "a seat is nothing that is written",
		},
	}.Run(t, open)
}

func given(t *testing.T, h Harness) {
	e, _ := h.Join(t)
	term, leave := hold(t, e, "a")
	if term.Err() != nil {
		t.Error("the term has ended before it began")
	}
	leave()
	<-term.Done()
	_, leave = hold(t, e, "a")
	leave()
	leave() // harmless
}

func ends(t *testing.T, h Harness) {
	e, _ := h.Join(t)
	ctx, cancel := context.WithCancel(t.Context())
	term, leave, err := e.Hold(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	cancel()
	<-term.Done()
	if _, _, err := e.Hold(ctx, "b"); err == nil {
		t.Error("a seat was given to who waits no more")
	}
}

func apart(t *testing.T, h Harness) {
	e, _ := h.Join(t)
	for _, seat := range []string{"a", "b"} {
		_, leave := hold(t, e, seat)
		defer leave()
	}
}

func exclusive(t *testing.T, h Harness) {
	one, _ := h.Join(t)
	two, _ := h.Join(t)
	_, leave := hold(t, one, "a")
	defer leave()
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // more than two looks
	defer cancel()
	if _, leave, err := two.Hold(ctx, "a"); err == nil {
		leave()
		t.Error("two processes have one seat")
	}
}

func handedOn(t *testing.T, h Harness) {
	one, _ := h.Join(t)
	two, _ := h.Join(t)
	_, leave := hold(t, one, "a")
	next := wait(t, two)
	leave()
	next()
}

func takenOver(t *testing.T, h Harness) {
	one, cut := h.Join(t)
	two, _ := h.Join(t)
	term, leave := hold(t, one, "a")
	defer leave()
	next := wait(t, two)
	began := time.Now()
	cut()
	select {
	case <-term.Done():
	case <-time.After(patience):
		t.Error("who was cut off still believes that it leads")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("who was cut off went on for %v", took)
	}
	next()
}

func regained(t *testing.T, h Harness) {
	e, cut := h.Join(t)
	term, leave := hold(t, e, "a")
	cut()
	<-term.Done()
	leave()
	_, leave = hold(t, e, "a")
	leave()
}

func givenUp(t *testing.T, h Harness) {
	one, _ := h.Join(t)
	two, _ := h.Join(t)
	_, leave := hold(t, one, "a")
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := two.Hold(ctx, "a"); err == nil {
		t.Error("it was given the seat that another has")
	}
}

func hold(t *testing.T, e leader.Elections, seat string) (context.Context, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	alarm := time.AfterFunc(patience, cancel)
	defer alarm.Stop()
	term, leave, err := e.Hold(ctx, seat)
	if err != nil {
		t.Fatalf("the seat %s was not given within %v: %v", seat, patience, err)
	}
	return term, leave
}

// wait lets a process wait for the seat a; what it gives fails unless the seat is then given.
func wait(t *testing.T, e leader.Elections) (given func()) {
	t.Helper()
	got := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		_, leave, err := e.Hold(ctx, "a")
		if err == nil {
			leave()
		}
		got <- err
	}()
	return func() {
		t.Helper()
		select {
		case err := <-got:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Errorf("the seat was not taken over within %v", patience)
		}
	}
}

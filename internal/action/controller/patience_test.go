package controller_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
)

// TestWhatIsStuckIsAskedLessOften: an action that is never finished is asked again after a tenth of its age, five minutes at the
// most; and the history has its newest note, though not each.
func TestWhatIsStuckIsAskedLessOften(t *testing.T) {
	asked := make(chan int, 1000)
	count := 0
	e := newEngine(t, effectThenArchive, pure("check"), step.Action{Name: "do", Effect: true, Parallel: 1, Run: func(context.Context, []step.Task) []step.Outcome {
		count++
		asked <- count
		return []step.Outcome{{Later: time.Second, Note: fmt.Sprintf("asked %d times", count)}}
	}})
	id := e.accept()
	wait(t, asked)
	began, runs := e.now(), 1
	for e.now().Sub(began) < 24*time.Hour {
		e.until(id, guarantee.Waiting)
		wait(t, e.idle())
		rec, _ := e.events(id)
		if rec.Status != guarantee.Waiting {
			t.Fatalf("it is %s", rec.Status)
		}
		pause, age := rec.Due.Sub(e.now()), e.now().Sub(began)
		if low, high := min(age/10, 5*time.Minute)-time.Second, max(time.Second, min(age/10, 5*time.Minute))+time.Second; pause < low || pause > high {
			t.Fatalf("at the age of %s it is asked again in %s", age, pause)
		}
		e.jump(pause)
		runs = wait(t, asked)
	}
	wait(t, e.idle())
	_, history, err := e.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	notes := 0
	for _, entry := range history {
		if strings.HasPrefix(entry.Note, "asked ") {
			notes++
		}
	}
	if runs > 400 || notes < 25 || notes > 50 {
		t.Errorf("in a day it was asked %d times, and the history has %d notes", runs, notes)
	}
	t.Logf("in a day it was asked %d times, and the history has %d notes, the newest: %s", runs, notes, history[len(history)-1].Note)
}

package controller_test

import (
	"context"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// TestANudgeIsAskedAtOnce: what an unfinished action waits for has happened, while it was being asked or between two times.
func TestANudgeIsAskedAtOnce(t *testing.T) {
	asked, answer, runs := make(chan struct{}, 10), make(chan struct{}), 0
	e := newEngine(t, effectThenArchive, pure("check"), step.Action{Name: "do", Effect: true, Parallel: 1, Run: func(context.Context, []step.Task) []step.Outcome {
		runs++
		asked <- struct{}{}
		if runs == 1 {
			<-answer
		}
		if runs < 4 {
			return []step.Outcome{{Later: 9 * time.Second}}
		}
		return make([]step.Outcome, 1)
	}})
	e.stop()
	e.linger = time.Minute
	e.open("QueryLanguage: CEL\n" + effectThenArchive)
	began := time.Now()
	id := e.accept()
	wait(t, asked)
	e.control.Nudge("do", id) // it is out: what it will answer is too old
	close(answer)
	wait(t, asked)
	for range 2 { // it may still be on its way back
		e.control.Nudge("other", id)
		e.control.Nudge("do", id, message.NewID())
		wait(t, asked)
	}
	wait(t, e.ended)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s: nobody asked before its time", took)
	}
	wait(t, e.idle())
	e.control.Nudge("do", id) // it is out of hand: nothing to do
}

// TestANudgeReachesWhatWaitsInGuarantee: the message was given back because its action is not finished; a nudge makes it due.
func TestANudgeReachesWhatWaitsInGuarantee(t *testing.T) {
	asked, runs := make(chan struct{}, 10), 0
	e := newEngine(t, effectThenArchive, pure("check"), step.Action{Name: "do", Effect: true, Parallel: 1, Run: func(context.Context, []step.Task) []step.Outcome {
		runs++
		asked <- struct{}{}
		if runs < 3 {
			return []step.Outcome{{Later: time.Hour}}
		}
		return make([]step.Outcome, 1)
	}})
	id := e.accept()
	for range 2 {
		wait(t, asked)
		e.until(id, guarantee.Waiting)
		wait(t, e.idle())
		e.control.Nudge("do", message.NewID(), id)
	}
	wait(t, asked)
	wait(t, e.ended)
	_, history, err := e.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for i, entry := range history {
		if entry.Version != int64(i)+1 {
			t.Errorf("entry %d of its history has version %d (I4)", i, entry.Version)
		}
	}
}

// Package controlpointtest is the conformance suite of controlpoint.Journal: what every backend that keeps the outcomes of
// requests to other systems has to show. It says nothing about the requests themselves.
package controlpointtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
)

// Subject is a journal to be tested. Faults strike its writes at calls.begin and calls.end, before and after they are
// durable; Reopen gives the journal as a new process finds it.
type Subject struct {
	Journal controlpoint.Journal
	Faults  *fault.Points
	Reopen  func(*testing.T) Subject
}

// Run runs the suite; open gives an empty journal each time.
func Run(t *testing.T, open func(*testing.T) Subject) {
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/NothingIsKnownAtFirst":                   nothing,
			"basic/ASendIsBegunOnce":                        once,
			"basic/WhatWasNotDoneIsSentAgain":               again,
			"transactions/WhatIsDoneStaysDone":              done,
			"transactions/AnOvertakenEndChangesNothing":     overtaken,
			"basic/StepsAndTargetsAreApart":                 apart,
			"concurrency/OneOfManyIsGivenTheSend":           race,
			"faults/AFailedWriteHasHappenedOrNot":           failed,
			"faults/WhatWasAnsweredIsThereAfterReopen":      reopened,
			"basic/AResultIsKeptByteForByteAndTimesExactly": exact,
		},
	}.Run(t, open)
}

const target = "bank"

func step(state string) controlpoint.Step {
	return controlpoint.Step{Message: message.NewID(), State: state}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func begin(t *testing.T, s Subject, at controlpoint.Step, target string, n int) bool {
	t.Helper()
	given, err := s.Journal.Begin(t.Context(), at, target, n, now())
	if err != nil {
		t.Fatal(err)
	}
	return given
}

func end(t *testing.T, s Subject, at controlpoint.Step, e controlpoint.Entry) {
	t.Helper()
	e.At = now()
	if err := s.Journal.End(t.Context(), at, e); err != nil {
		t.Fatal(err)
	}
}

// known is what is known of a step, in short.
func known(t *testing.T, s Subject, at controlpoint.Step) string {
	t.Helper()
	entries, err := s.Journal.Find(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, e := range entries {
		all += fmt.Sprintf("%s %d %d %s;", e.Target, e.Sends, e.Phase, e.Result)
	}
	return all
}

func is(t *testing.T, s Subject, at controlpoint.Step, want string) {
	t.Helper()
	if got := known(t, s, at); got != want {
		t.Errorf("known is %q, want %q", got, want)
	}
}

func nothing(t *testing.T, s Subject) {
	at := step("Notify")
	end(t, s, at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Done, Result: json.RawMessage(`{}`)}) // nobody began it
	is(t, s, at, "")
	if begin(t, s, at, target, 2) {
		t.Error("a second send was begun before the first")
	}
	is(t, s, at, "")
}

func once(t *testing.T, s Subject) {
	at := step("Notify")
	if !begin(t, s, at, target, 1) || begin(t, s, at, target, 1) {
		t.Error("the first send is not given once")
	}
	is(t, s, at, "bank 1 1 ;")
	if !begin(t, s, at, target, 2) || begin(t, s, at, target, 1) || begin(t, s, at, target, 2) {
		t.Error("the second send is not given once")
	}
	is(t, s, at, "bank 2 1 ;")
}

func again(t *testing.T, s Subject) {
	at := step("Notify")
	begin(t, s, at, target, 1)
	end(t, s, at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Undone})
	is(t, s, at, "bank 1 2 ;")
	if !begin(t, s, at, target, 2) {
		t.Error("what was not done cannot be sent again")
	}
	is(t, s, at, "bank 2 1 ;")
}

func done(t *testing.T, s Subject) {
	at := step("Notify")
	begin(t, s, at, target, 1)
	end(t, s, at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Done, Result: json.RawMessage(`{"a":1}`)})
	if begin(t, s, at, target, 2) {
		t.Error("what is done was begun again")
	}
	end(t, s, at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Undone})
	end(t, s, at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Done, Result: json.RawMessage(`{"a":2}`)})
	is(t, s, at, `bank 1 3 {"a":1};`)
}

func overtaken(t *testing.T, s Subject) {
	at := step("Notify")
	begin(t, s, at, target, 1)
	begin(t, s, at, target, 2)
	end(t, s, at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Undone})
	is(t, s, at, "bank 2 1 ;")
}

func apart(t *testing.T, s Subject) {
	one, two := step("Notify"), step("Notify")
	begin(t, s, one, target, 1)
	begin(t, s, one, "auditor", 1)
	begin(t, s, controlpoint.Step{Message: one.Message, State: "Cancel"}, target, 1)
	end(t, s, one, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Undone})
	is(t, s, one, "auditor 1 1 ;bank 1 2 ;")
	is(t, s, two, "")
	is(t, s, controlpoint.Step{Message: one.Message, State: "Cancel"}, "bank 1 1 ;")
}

func race(t *testing.T, s Subject) {
	at := step("Notify")
	for n := 1; n <= 3; n++ {
		var won atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				given, err := s.Journal.Begin(t.Context(), at, target, n, now())
				if err != nil {
					t.Error(err)
				}
				if given {
					won.Add(1)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("send %d was given to %d", n, won.Load())
		}
	}
}

// failed is the rule for writes that fail: reported as failed, they have happened (after) or not (before).
func failed(t *testing.T, s Subject) {
	for side, happened := range map[string]bool{".before": false, ".after": true} {
		at := step("Notify")
		s.Faults.Arm("calls.begin"+side, fault.Fail, 1)
		if _, err := s.Journal.Begin(t.Context(), at, target, 1, now()); !errors.Is(err, fault.ErrInjected) {
			t.Fatalf("Begin with a fault %s: %v", side, err)
		}
		if known(t, s, at) != "" != happened {
			t.Errorf("after a fault %s of Begin known is %q", side, known(t, s, at))
		}
		if !happened {
			begin(t, s, at, target, 1)
		}
		s.Faults.Arm("calls.end"+side, fault.Fail, 1)
		e := controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Undone, At: now()}
		if err := s.Journal.End(t.Context(), at, e); !errors.Is(err, fault.ErrInjected) {
			t.Fatalf("End with a fault %s: %v", side, err)
		}
		want := "bank 1 1 ;"
		if happened {
			want = "bank 1 2 ;"
		}
		is(t, s, at, want)
	}
}

func reopened(t *testing.T, s Subject) {
	sent, finished := step("Notify"), step("Notify")
	begin(t, s, sent, target, 1)
	begin(t, s, finished, target, 1)
	end(t, s, finished, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Done, Result: json.RawMessage(`{}`)})
	s = s.Reopen(t)
	is(t, s, sent, "bank 1 1 ;")
	is(t, s, finished, "bank 1 3 {};")
}

func exact(t *testing.T, s Subject) {
	at, when := step("Ünïcode/0/Pay"), now()
	result := json.RawMessage(`{"amount": 115792089237316195423570985008687907853269984665640564039457584007913129639936.50}`)
	if _, err := s.Journal.Begin(t.Context(), at, target, 1, when.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Journal.End(t.Context(), at, controlpoint.Entry{Target: target, Sends: 1, Phase: controlpoint.Done, At: when, Result: result}); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Journal.Find(t.Context(), at)
	if err != nil || len(entries) != 1 || string(entries[0].Result) != string(result) || !entries[0].At.Equal(when) {
		t.Errorf("found %v, %v", entries, err)
	}
}

package workflow_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

func known(string) (effect, known bool) { return false, true }

func source(comment string) []byte {
	return fmt.Appendf(nil, "{Comment: %s, StartAt: Done, States: {Done: {Type: Succeed}}}", comment)
}

// library opens one over a store with two versions of note.v1; the first is what the process was started with.
func library(t *testing.T) (*workflow.Library, guarantee.Definitions, []string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store := sqlite.NewGuarantee(db)
	l := workflow.New(store, machine.Rules{Actions: known})
	if err := l.Add(t.Context(), "note.v1", source("one")); err != nil {
		t.Fatal(err)
	}
	second, err := l.Install(t.Context(), "note.v1", source("two"))
	if err != nil {
		t.Fatal(err)
	}
	start, err := l.Begin(t.Context(), "note.v1", message.NewID())
	if err != nil {
		t.Fatal(err)
	}
	return l, store, []string{start.Ref, second.Ref}
}

// begun counts what n new messages begin with.
func begun(t *testing.T, l *workflow.Library, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	for range n {
		id := message.NewID()
		start, err := l.Begin(t.Context(), "note.v1", id)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := l.Begin(t.Context(), "note.v1", id); err != nil || again.Ref != start.Ref {
			t.Fatalf("%s begins with %s, then with %s (%v)", id, start.Ref, again.Ref, err)
		}
		count[start.Ref]++
	}
	return count
}

func TestAnAliasSharesNewMessagesOut(t *testing.T) {
	l, _, refs := library(t)
	if got := begun(t, l, 100); got[refs[0]] != 100 {
		t.Errorf("without an alias %v began, want all with %s", got, refs[0])
	}
	direct(t, l, guarantee.Route{Ref: refs[0], Weight: 3}, guarantee.Route{Ref: refs[1], Weight: 1})
	if got := begun(t, l, 4000); got[refs[1]] < 850 || got[refs[1]] > 1150 { // 1000 is expected; five standard deviations are 137
		t.Errorf("of 4000 messages %v began, want about a quarter with %s", got, refs[1])
	}
	direct(t, l)
	if got := begun(t, l, 100); got[refs[0]] != 100 {
		t.Errorf("after the alias was lifted %v began, want all with %s", got, refs[0])
	}
}

func direct(t *testing.T, l *workflow.Library, routes ...guarantee.Route) {
	t.Helper()
	if err := l.Direct(t.Context(), guarantee.Alias{Name: "note.v1", Routes: routes, By: "op", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

// Another process over the same store goes by the alias soon, and without having loaded the definition before.
func TestAnAliasReachesOtherProcesses(t *testing.T) {
	l, store, refs := library(t)
	other := workflow.New(store, machine.Rules{Actions: known})
	if err := other.Add(t.Context(), "note.v1", source("one")); err != nil {
		t.Fatal(err)
	}
	if got := begun(t, other, 10); got[refs[0]] != 10 {
		t.Fatalf("%v began", got)
	}
	direct(t, l, guarantee.Route{Ref: refs[1], Weight: 1})
	for deadline := time.Now().Add(10 * time.Second); begun(t, other, 1)[refs[1]] == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other process did not see the alias")
		}
	}
}

func TestAliasesThatCannotBe(t *testing.T) {
	l, _, refs := library(t)
	one := guarantee.Route{Ref: refs[0], Weight: 1}
	for _, c := range []struct {
		name   string
		routes []guarantee.Route
		code   string
	}{
		{"nothing.v1", nil, "workflow-unknown"},
		{"note.v1", []guarantee.Route{{Ref: "note.v1@0", Weight: 1}}, "workflow-unknown"},
		{"note.v1", []guarantee.Route{{Ref: "call.v1@0", Weight: 1}}, "alias-invalid"},
		{"note.v1", []guarantee.Route{{Ref: refs[0], Weight: 0}}, "alias-invalid"},
		{"note.v1", []guarantee.Route{one, one}, "alias-invalid"},
	} {
		err := l.Direct(t.Context(), guarantee.Alias{Name: c.name, Routes: c.routes})
		if err == nil || problem.From(err).Code != c.code {
			t.Errorf("%s to %v: got %v, want %s", c.name, c.routes, err, c.code)
		}
	}
	if got := begun(t, l, 10); got[refs[0]] != 10 {
		t.Errorf("after refusals %v began", got)
	}
}

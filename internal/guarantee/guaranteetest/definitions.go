package guaranteetest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

func definitions(t *testing.T, b Backend) {
	must(t, b.Definitions.Put(t.Context(), "note.v1@1", []byte("one")))
	must(t, b.Definitions.Put(t.Context(), "note.v1@1", []byte("two")))
	b = b.Reopen(t)
	got, err := b.Definitions.Definition(t.Context(), "note.v1@1")
	must(t, err)
	if string(got) != "one" {
		t.Errorf("a definition changed to %q", got)
	}
	if _, err := b.Definitions.Definition(t.Context(), "note.v1@2"); err == nil {
		t.Error("a definition that was never put was found")
	}
	must(t, b.Definitions.Put(t.Context(), "call.v1@1", []byte("three")))
	refs, err := b.Definitions.References(t.Context())
	must(t, err)
	if fmt.Sprint(refs) != "[call.v1@1 note.v1@1]" {
		t.Errorf("the references are %v", refs)
	}
}

// The newest alias of a name counts, also after a crash, and one that was lifted is told as such.
func aliases(t *testing.T, b Backend) {
	present := func() []guarantee.Alias {
		t.Helper()
		all, err := b.Definitions.Aliases(t.Context())
		must(t, err)
		return all
	}
	if all := present(); len(all) != 0 {
		t.Errorf("a fresh store has the aliases %v", all)
	}
	canary := guarantee.Alias{Name: "note.v1", Routes: []guarantee.Route{{Ref: "note.v1@1", Weight: 9}, {Ref: "note.v1@2", Weight: 1}}, By: "op", At: clock}
	other := guarantee.Alias{Name: "call.v1", Routes: []guarantee.Route{{Ref: "call.v1@1", Weight: 1}}, By: "op", At: clock}
	lifted := guarantee.Alias{Name: "note.v1", By: "op2", At: clock.Add(time.Second)}
	must(t, b.Definitions.Direct(t.Context(), canary))
	must(t, b.Definitions.Direct(t.Context(), other))
	if got, want := present(), []guarantee.Alias{other, canary}; !reflect.DeepEqual(got, want) {
		t.Errorf("the aliases are %+v, want %+v", got, want)
	}
	must(t, b.Definitions.Direct(t.Context(), lifted))
	b = b.Reopen(t)
	if got, want := present(), []guarantee.Alias{other, lifted}; !reflect.DeepEqual(got, want) {
		t.Errorf("after a lift the aliases are %+v, want %+v", got, want)
	}
}

// pinnedAnew: a transition can move a message to another definition, and the archive keeps the last.
func pinnedAnew(t *testing.T, b Backend) {
	one, two := Accept(t, b.Store, "cli_a", "one"), Accept(t, b.Store, "cli_a", "two")
	old := one.Workflow
	pinned := func(ref string, want ...message.ID) {
		t.Helper()
		slices.Sort(want)
		var got []message.ID
		for after := message.ID(""); ; after = got[len(got)-1] {
			page, err := b.Store.Pinned(t.Context(), ref, after, 1)
			must(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pinned to %s are %v, want %v", ref, got, want)
		}
	}
	pinned(old, one.ID, two.ID)
	move := Step(one, one.State, guarantee.Running)
	move.Workflow = old + "2"
	commit(t, b.Store, move)
	stale := Step(one, one.State, guarantee.Running)
	stale.Workflow = old + "3"
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{stale})
	must(t, err)
	want(t, refused[0], guarantee.ErrStale)
	b = b.Reopen(t)
	pinned(old, two.ID)
	pinned(old+"2", one.ID)
	rec, _, err := b.Store.Get(t.Context(), one.ID)
	must(t, err)
	end := Step(rec, "Done", guarantee.Succeeded)
	end.Archive = true
	commit(t, b.Store, end)
	pinned(old + "2")
	if rec, _, err = b.Store.Get(t.Context(), one.ID); err != nil || rec.Workflow != old+"2" || !rec.Archived {
		t.Errorf("the archive has it with %s, %v", rec.Workflow, err)
	}
}

package guaranteetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// The parts of places.

// parts writes parts as "key=data", those without data as "-key".
func parts(list ...string) (parts []guarantee.Part) {
	for _, entry := range list {
		if key, removed := strings.CutPrefix(entry, "-"); removed {
			parts = append(parts, guarantee.Part{Key: key})
			continue
		}
		key, data, _ := strings.Cut(entry, "=")
		parts = append(parts, guarantee.Part{Key: key, Data: []byte(data)})
	}
	return parts
}

// stored looks at a message's parts in Load and in Get.
func stored(t *testing.T, s guarantee.Store, id message.ID, want ...string) {
	t.Helper()
	got, _, err := s.Get(t.Context(), id)
	must(t, err)
	loaded, err := s.Load(t.Context(), []message.ID{id})
	must(t, err)
	for _, rec := range append(loaded, got) {
		var list []string
		for _, p := range rec.Parts {
			list = append(list, p.Key+"="+string(p.Data))
		}
		if fmt.Sprint(list) != fmt.Sprint(want) {
			t.Errorf("the parts are %v, want %v", list, want)
		}
	}
}

// stepWith is a transition that changes parts.
func stepWith(rec *guarantee.Record, changed ...string) guarantee.Transition {
	tr := Step(*rec, "Fan", guarantee.Running)
	tr.Parts = parts(changed...)
	rec.Version++
	return tr
}

func partsAreKept(t *testing.T, b Backend) {
	rec, other := Accept(t, b.Store, "cli_a", "one"), Accept(t, b.Store, "cli_a", "two")
	stored(t, b.Store, rec.ID)
	commit(t, b.Store, stepWith(&rec, "f/1/=b", "f/0/=a", "f/10/=c", "f/1/2/=d", "f=e", "f0=f", "\u00e9/=g"), stepWith(&other, "f/1/=other"))
	b = b.Reopen(t)
	stored(t, b.Store, rec.ID, "f=e", "f/0/=a", "f/1/=b", "f/1/2/=d", "f/10/=c", "f0=f", "\u00e9/=g")
	commit(t, b.Store, stepWith(&rec))
	commit(t, b.Store, stepWith(&rec, "f/0/=A", "f/2/=new", "-f", "-never"))
	stored(t, b.Store, rec.ID, "f/0/=A", "f/1/=b", "f/1/2/=d", "f/10/=c", "f/2/=new", "f0=f", "\u00e9/=g")
	commit(t, b.Store, stepWith(&rec, "-f/1/"))
	stored(t, b.Store, rec.ID, "f/0/=A", "f/10/=c", "f/2/=new", "f0=f", "\u00e9/=g")
	commit(t, b.Store, stepWith(&rec, "-f/", "f/0/=again"))
	stored(t, b.Store, rec.ID, "f/0/=again", "f0=f", "\u00e9/=g")
	stored(t, b.Store, other.ID, "f/1/=other")
}

func partsGoAtTheEnd(t *testing.T, b Backend) {
	for _, archive := range []bool{true, false} {
		rec := Accept(t, b.Store, "cli_a", fmt.Sprint(archive))
		commit(t, b.Store, stepWith(&rec, "f/0/=a", "b/Fan/0/Pay=1"))
		tr := Step(rec, "Done", guarantee.Succeeded)
		tr.Archive = archive
		commit(t, b.Store, tr)
		b = b.Reopen(t)
		stored(t, b.Store, rec.ID)
	}
}

func partsWithTheirMove(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "one")
	commit(t, b.Store, stepWith(&rec, "f/0/=a"))
	stale := stepWith(&guarantee.Record{Verified: rec.Verified, Version: 1}, "f/0/=stale", "f/1/=stale")
	refused, err := b.Store.Commit(t.Context(), []guarantee.Transition{stale, stepWith(&rec, "f/2/=c")})
	must(t, err)
	want(t, refused[0], guarantee.ErrStale)
	must(t, refused[1])
	stored(t, b.Store, rec.ID, "f/0/=a", "f/2/=c")
}

func partsWithTheirCommit(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "one")
	tr := stepWith(&rec, "f/0/=a", "f/1/=b")
	b.Faults.Arm("guarantee.commit.before", fault.Fail, 1)
	if _, err := b.Store.Commit(t.Context(), []guarantee.Transition{tr}); err == nil {
		t.Error("a failed Commit was reported as done")
	}
	b = b.Reopen(t)
	stored(t, b.Store, rec.ID)
	b.Faults.Arm("guarantee.commit.after", fault.Fail, 1)
	if _, err := b.Store.Commit(t.Context(), []guarantee.Transition{tr}); err == nil {
		t.Error("the injected failure was not reported")
	}
	b = b.Reopen(t)
	stored(t, b.Store, rec.ID, "f/0/=a", "f/1/=b")
}

// Package referencetest is the conformance suite of Reference's ports: what every Store, Repairs and Source must do. It also
// has a Model, Reference in memory, which backends are held against, and a Truth, a Guarantee in memory to follow.
package referencetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
)

// Subject is what the suite tests. Each test gets one of its own, empty.
type Subject struct {
	reference.Store
	reference.Repairs
	Faults *fault.Points // strikes at reference.apply and reference.replace
}

// Run runs the suite of Store and Repairs.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/what is applied can be read":                        applied,
			"transactions/I19: an older version never overwrites":      guarded,
			"basic/replace overwrites any version, and removes":        replaced,
			"basic/lists are filtered and newest first":                filtered,
			"basic/pages follow each other without gap or double":      paged,
			"basic/a page goes on where it was when rows have moved":   pagedWhileMoving,
			"basic/messages accepted at once are not lost in paging":   ties,
			"basic/a foreign cursor is refused":                        cursors,
			"basic/rows are walked by id":                              walked,
			"basic/it answers as the model does":                       model,
			"concurrency/the highest version of concurrent ones stays": concurrent,
			"concurrency/counts agree with the rows at every moment":   countsWhileMoving,
			"faults/a failed apply changes nothing":                    failedApply,
			"faults/an apply reported as failed can be repeated":       repeatedApply,
			"faults/a failed replace changes nothing":                  failedReplace,
		},
	}.Run(t, open)
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// row makes the i-th message: accepted i seconds after the epoch.
func row(i int, change ...func(*reference.Row)) reference.Row {
	at := epoch.Add(time.Duration(i) * time.Second)
	r := reference.Row{
		ID: message.NewID(), Version: 1, State: "validate", Status: guarantee.Running, Accepted: at, Updated: at,
		Attributes: guarantee.Attributes{
			Client: "cli_a", Type: "transfer.v1", Chain: "eip155:1", Signer: "0x01", Wallet: "wal_a", To: "0x02", Asset: "native", Amount: fmt.Sprint(i),
		},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func moved(r reference.Row, state string, status guarantee.Status) reference.Row {
	r.Version++
	r.State, r.Status, r.Updated = state, status, r.Updated.Add(time.Millisecond)
	return r
}

func applied(t *testing.T, s Subject) {
	s.wantPosition(t, 0)
	a := row(1)
	b := row(2, func(r *reference.Row) {
		r.Version, r.State, r.Status, r.Reason, r.Archived = 7, "failed", guarantee.Failed, "the chain said no", true
		r.Attributes = guarantee.Attributes{Client: "cli_b", Type: "note.v1", Chain: "eip155:2", Signer: "0x03"}
	})
	s.apply(t, 12, a, b)
	s.wantRows(t, a, b)
	s.wantPosition(t, 12)
	s.wantCounts(t, "", count(b, 1), count(a, 1))
	s.wantCounts(t, "cli_a", count(a, 1))
	s.wantCounts(t, "cli_none")

	a = moved(a, "sign", guarantee.Waiting)
	s.apply(t, 13, a)
	s.wantRows(t, a, b)
	s.wantPosition(t, 13)
	s.wantCounts(t, "cli_a", count(a, 1))
	s.apply(t, reference.Stay, moved(b, "failed", guarantee.Failed))
	s.apply(t, 20)
	s.wantPosition(t, 20)
	s.apply(t, 0)
	s.wantPosition(t, 0)
}

func guarded(t *testing.T, s Subject) {
	v1 := row(1)
	v2 := moved(v1, "sign", guarantee.Running)
	v3 := moved(v2, "done", guarantee.Succeeded)
	s.apply(t, 1, v3)
	s.apply(t, 2, v1)
	s.apply(t, 3, v2, v1)
	other := v3
	other.State = "elsewhere"
	s.apply(t, 4, other)
	s.wantRows(t, v3)
	s.wantPosition(t, 4)
	s.wantCounts(t, "", count(v3, 1))
}

func replaced(t *testing.T, s Subject) {
	a, b := row(1), row(2)
	ahead := a
	ahead.Version, ahead.State = 99, "invented"
	ahead.Attributes.Amount, ahead.Attributes.Wallet, ahead.Attributes.Client = "1000000", "wal_x", "cli_x"
	ahead.Accepted = epoch.Add(-time.Hour)
	s.apply(t, 5, ahead, b)
	s.replace(t, []reference.Row{a}, b.ID, message.NewID())
	s.wantRows(t, a)
	s.wantPosition(t, 5)
	s.wantCounts(t, "", count(a, 1))
	s.wantList(t, reference.Query{Wallet: "wal_a"}, a)
	s.wantList(t, reference.Query{Wallet: "wal_x"})
	s.replace(t, []reference.Row{b})
	s.wantRows(t, a, b)
}

func walked(t *testing.T, s Subject) {
	var want []reference.Row
	for i := range 10 {
		want = append(want, row(i))
	}
	s.apply(t, 1, want...)
	slices.SortFunc(want, byID)
	var got []reference.Row
	for after := ""; ; {
		rows, err := s.Walk(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, rows...); len(rows) < 3 {
			break
		}
		after = string(rows[2].ID)
	}
	equal(t, got, want)
	found, err := s.Find(t.Context(), []message.ID{want[4].ID, message.NewID(), want[1].ID})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, byID)
	equal(t, found, []reference.Row{want[1], want[4]})
}

func concurrent(t *testing.T, s Subject) {
	var versions [][]reference.Row // by version, then by message
	for i := range 20 {
		r := row(i)
		for v := range 10 {
			if len(versions) <= v {
				versions = append(versions, nil)
			}
			versions[v] = append(versions[v], r)
			r = moved(r, fmt.Sprint("s", v), guarantee.Running)
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for v := range versions { // each in an order of its own, all versions by each
				rows := versions[(v*(2*w+1)+w)%len(versions)]
				if err := s.Apply(t.Context(), rows, reference.Stay); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// 1, 3 and 7 have no factor in common with 10, so that writers 0, 1 and 3 applied every version.
	s.wantRows(t, versions[len(versions)-1]...)
}

func countsWhileMoving(t *testing.T, s Subject) {
	rows := []reference.Row{row(1), row(2), row(3), row(4)}
	s.apply(t, 1, rows...)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for i := range 100 {
			rows[i%4] = moved(rows[i%4], fmt.Sprint("s", i%3), guarantee.Running)
			if err := s.Apply(t.Context(), rows[i%4:i%4+1], reference.Stay); err != nil {
				t.Error(err)
			}
		}
	})
	for reading := true; reading; {
		select {
		case <-stop:
			reading = false
		default:
		}
		counts, err := s.Counts(t.Context(), "")
		total := int64(0)
		for _, c := range counts {
			total += c.Number
		}
		if err != nil || total != 4 {
			t.Fatalf("counts %v, %v: want 4 messages in all", counts, err)
		}
	}
	wg.Wait()
	if wrong, err := s.Recount(t.Context(), false); wrong != 0 || err != nil {
		t.Errorf("%d numbers are wrong (%v)", wrong, err)
	}
}

func failedApply(t *testing.T, s Subject) {
	a := row(1)
	s.apply(t, 1, a)
	s.Faults.Arm("reference.apply.before", fault.Fail, 1)
	if err := s.Apply(t.Context(), []reference.Row{moved(a, "sign", guarantee.Running), row(2)}, 2); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("apply answered %v, want the injected fault", err)
	}
	s.wantRows(t, a)
	s.wantPosition(t, 1)
	s.wantCounts(t, "", count(a, 1))
}

func repeatedApply(t *testing.T, s Subject) {
	a, b := row(1), row(2)
	s.Faults.Arm("reference.apply.after", fault.Fail, 1)
	if err := s.Apply(t.Context(), []reference.Row{a, b}, 2); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("apply answered %v, want the injected fault", err)
	}
	s.wantPosition(t, 2)
	s.apply(t, 2, a, b)
	s.wantRows(t, a, b)
	s.wantCounts(t, "", count(a, 2))
}

func failedReplace(t *testing.T, s Subject) {
	a, b := row(1), row(2)
	s.apply(t, 1, a)
	s.Faults.Arm("reference.replace.before", fault.Fail, 1)
	if err := s.Replace(t.Context(), []reference.Row{b}, []message.ID{a.ID}); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("replace answered %v, want the injected fault", err)
	}
	s.wantRows(t, a)
	s.wantCounts(t, "", count(a, 1))
}

func (s Subject) apply(t *testing.T, seq int64, rows ...reference.Row) {
	t.Helper()
	if err := s.Apply(t.Context(), rows, seq); err != nil {
		t.Fatal(err)
	}
}

func (s Subject) replace(t *testing.T, rows []reference.Row, remove ...message.ID) {
	t.Helper()
	if err := s.Replace(t.Context(), rows, remove); err != nil {
		t.Fatal(err)
	}
}

func (s Subject) wantPosition(t *testing.T, want int64) {
	t.Helper()
	if got, err := s.Position(t.Context()); err != nil || got != want {
		t.Errorf("the position is %d (%v), want %d", got, err, want)
	}
}

// wantRows compares all rows.
func (s Subject) wantRows(t *testing.T, want ...reference.Row) {
	t.Helper()
	got, err := s.Walk(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	want = slices.Clone(want)
	slices.SortFunc(want, byID)
	equal(t, got, want)
}

func (s Subject) wantCounts(t *testing.T, client string, want ...reference.Count) {
	t.Helper()
	got, err := s.Counts(t.Context(), client)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("counts of %q are %v (%v), want %v", client, got, err, want)
	}
}

func count(r reference.Row, n int64) reference.Count {
	return reference.Count{Type: r.Attributes.Type, State: r.State, Status: r.Status, Number: n}
}

// equal compares rows, times as instants.
func equal(t *testing.T, got, want []reference.Row) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d rows, want %d:\n%v\n%v", len(got), len(want), brief(got), brief(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if !g.Accepted.Equal(w.Accepted) || !g.Updated.Equal(w.Updated) {
			t.Errorf("row %d: accepted %s, updated %s; want %s, %s", i, g.Accepted, g.Updated, w.Accepted, w.Updated)
		}
		if g.Accepted, g.Updated = w.Accepted, w.Updated; g != w {
			t.Errorf("row %d is\n%+v, want\n%+v", i, g, w)
		}
	}
}

func brief(rows []reference.Row) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%s@%d %s", r.ID, r.Version, r.State))
	}
	return out
}

func wantProblem(t *testing.T, err error, code string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || cmp.Compare(p.Code, code) != 0 {
		t.Errorf("the error is %v, want %s", err, code)
	}
}

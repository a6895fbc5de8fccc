package referencetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

func filtered(t *testing.T, s Subject) {
	with := func(client, kind, state string, status guarantee.Status, wallet string) func(*reference.Row) {
		return func(r *reference.Row) {
			r.Attributes.Client, r.Attributes.Type, r.State, r.Status, r.Attributes.Wallet = client, kind, state, status, wallet
		}
	}
	a := row(1, with("cli_a", "note.v1", "validate", guarantee.Running, ""))
	b := row(2, with("cli_a", "transfer.v1", "sign", guarantee.Parked, "wal_a"))
	c := row(3, with("cli_b", "transfer.v1", "sign", guarantee.Running, "wal_b"))
	d := row(4, with("cli_b", "note.v1", "validate", guarantee.Running, ""))
	e := row(5, with("cli_a", "transfer.v1", "done", guarantee.Succeeded, "wal_a"))
	s.apply(t, 1, a, b, c, d, e)
	tests := []struct {
		q    reference.Query
		want []reference.Row
	}{
		{reference.Query{}, []reference.Row{e, d, c, b, a}},
		{reference.Query{Client: "cli_a"}, []reference.Row{e, b, a}},
		{reference.Query{Client: "cli_none"}, nil},
		{reference.Query{Type: "note.v1"}, []reference.Row{d, a}},
		{reference.Query{State: "sign"}, []reference.Row{c, b}},
		{reference.Query{Status: guarantee.Running}, []reference.Row{d, c, a}},
		{reference.Query{Client: "cli_a", Status: guarantee.Running}, []reference.Row{a}},
		{reference.Query{Client: "cli_a", Type: "note.v1", State: "validate", Status: guarantee.Running}, []reference.Row{a}},
		{reference.Query{Wallet: "wal_a"}, []reference.Row{e, b}},
		{reference.Query{Wallet: "wal_a", State: "sign"}, []reference.Row{b}},
		{reference.Query{Wallet: "wal_a", Client: "cli_b"}, nil}, // A21: whose wallet it is does not matter
		{reference.Query{From: c.Accepted}, []reference.Row{e, d, c}},
		{reference.Query{To: c.Accepted}, []reference.Row{b, a}},
		{reference.Query{From: b.Accepted, To: d.Accepted}, []reference.Row{c, b}},
		{reference.Query{From: b.Accepted, To: e.Accepted, Client: "cli_b"}, []reference.Row{d, c}},
		{reference.Query{Limit: 2}, []reference.Row{e, d}},
		{reference.Query{Limit: -1}, []reference.Row{e}},
		{reference.Query{Client: "cli_a' OR 1 --"}, nil},
	}
	for _, test := range tests {
		s.wantList(t, test.q, test.want...)
	}
}

// wantList compares one page.
func (s Subject) wantList(t *testing.T, q reference.Query, want ...reference.Row) {
	t.Helper()
	page, err := s.List(t.Context(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	if !slices.Equal(brief(page.Rows), brief(want)) {
		t.Errorf("%+v gives %v, want %v", q, brief(page.Rows), brief(want))
	}
}

// all reads page by page.
func (s Subject) all(t *testing.T, q reference.Query) (rows []reference.Row) {
	t.Helper()
	for {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, page.Rows...)
		if page.Next == "" {
			return rows
		}
		if len(page.Rows) != q.Size() {
			t.Fatalf("a page with another one after it has %d rows, want %d", len(page.Rows), q.Size())
		}
		q.Cursor = page.Next
	}
}

func paged(t *testing.T, s Subject) {
	var rows []reference.Row
	for i := range 60 {
		rows = append(rows, row(i, func(r *reference.Row) {
			r.Attributes.Client, r.State, r.Attributes.Wallet = fmt.Sprint("cli_", i%3), fmt.Sprint("s", i%4), fmt.Sprint("wal_", i%2)
		}))
	}
	s.apply(t, 1, rows...)
	slices.Reverse(rows)
	for _, size := range []int{1, 7, 59, 60, 61} {
		equal(t, s.all(t, reference.Query{Limit: size}), rows)
	}
	if page, err := s.List(t.Context(), reference.Query{}); err != nil || len(page.Rows) != reference.DefaultLimit || page.Next == "" {
		t.Errorf("a page without a limit has %d rows (%v), want %d and a next one", len(page.Rows), err, reference.DefaultLimit)
	}
	for _, q := range []reference.Query{
		{Client: "cli_1", Limit: 3}, {State: "s2", Limit: 4}, {Client: "cli_0", State: "s3", Limit: 1}, {Wallet: "wal_1", Limit: 7},
		{Wallet: "wal_0", State: "s2", Limit: 2}, {Client: "cli_2", From: epoch.Add(10 * time.Second), To: epoch.Add(40 * time.Second), Limit: 2},
	} {
		var want []reference.Row
		for _, r := range rows {
			if matches(q, r) {
				want = append(want, r)
			}
		}
		equal(t, s.all(t, q), want)
	}
}

func pagedWhileMoving(t *testing.T, s Subject) {
	var rows []reference.Row
	for i := range 6 {
		rows = append(rows, row(i))
	}
	s.apply(t, 1, rows...)
	first, err := s.List(t.Context(), reference.Query{Status: guarantee.Running, Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.apply(t, 2, moved(rows[4], "done", guarantee.Succeeded), row(9)) // the one that the cursor stands on, and a newer one
	second, err := s.List(t.Context(), reference.Query{Status: guarantee.Running, Limit: 2, Cursor: first.Next})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, append(first.Rows, second.Rows...), []reference.Row{rows[5], rows[4], rows[3], rows[2]})
}

func ties(t *testing.T, s Subject) {
	var rows []reference.Row
	for i := range 20 {
		rows = append(rows, row(1, func(r *reference.Row) { r.State = fmt.Sprint("s", i%3) }))
	}
	s.apply(t, 1, rows...)
	for _, q := range []reference.Query{{Limit: 3}, {Client: "cli_a", Limit: 3}, {Wallet: "wal_a", Limit: 3}} {
		got := s.all(t, q)
		slices.SortFunc(got, byID)
		want := slices.Clone(rows)
		slices.SortFunc(want, byID)
		equal(t, got, want)
	}
}

func cursors(t *testing.T, s Subject) {
	s.apply(t, 1, row(1))
	for _, cursor := range []string{"x", "!", "AAAA", "msg_01", "' OR 1 --"} {
		_, err := s.List(t.Context(), reference.Query{Cursor: cursor})
		wantProblem(t, err, "cursor-malformed")
	}
}

// model makes random changes to the backend and to the Model, and asks both the same.
func model(t *testing.T, s Subject) {
	rapid.Check(t, func(rt *rapid.T) {
		plain := NewModel()
		var rows []reference.Row
		for i := range 12 {
			rows = append(rows, row(i, func(r *reference.Row) {
				r.Attributes.Client = pick(rt, "cli_a", "cli_b")
				r.Attributes.Type = pick(rt, "note.v1", "transfer.v1")
				r.Attributes.Wallet = pick(rt, "", "wal_a", "wal_b")
			}))
		}
		defer emptied(t, s, rows)
		ctx := t.Context()
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			change(ctx, rt, rows, plain, s)
		}
		for range 5 {
			compare(ctx, rt, plain, s)
		}
	})
}

func change(ctx context.Context, rt *rapid.T, rows []reference.Row, stores ...interface {
	reference.Store
	reference.Repairs
}) {
	batch := make([]reference.Row, 0, 5)
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(rows)-1), 0, 5, rapid.ID).Draw(rt, "rows") {
		r := rows[i]
		r.Version = int64(rapid.IntRange(1, 4).Draw(rt, "version"))
		r.State, r.Status = pick(rt, "s1", "s2"), pick(rt, guarantee.Running, guarantee.Failed)
		batch = append(batch, r)
	}
	seq := rapid.Int64Range(reference.Stay, 100).Draw(rt, "seq")
	var remove []message.ID
	replace := rapid.IntRange(0, 3).Draw(rt, "replace") == 0
	if replace {
		remove = append(remove, rows[rapid.IntRange(0, len(rows)-1).Draw(rt, "remove")].ID)
	}
	for _, s := range stores {
		var err error
		if replace {
			err = s.Replace(ctx, batch, remove)
		} else {
			err = s.Apply(ctx, batch, seq)
		}
		if err != nil {
			rt.Fatal(err)
		}
	}
}

func compare(ctx context.Context, rt *rapid.T, plain *Model, s Subject) {
	q := reference.Query{
		Client: pick(rt, "", "cli_a", "cli_b"), Type: pick(rt, "", "note.v1"), State: pick(rt, "", "s1"),
		Status: pick(rt, "", guarantee.Running), Wallet: pick(rt, "", "", "wal_a"), Limit: rapid.IntRange(1, 13).Draw(rt, "limit"),
	}
	want, err := plain.List(ctx, q)
	if err != nil {
		rt.Fatal(err)
	}
	got, err := s.List(ctx, q)
	if err != nil || !slices.Equal(brief(got.Rows), brief(want.Rows)) || (got.Next == "") != (want.Next == "") {
		rt.Fatalf("%+v gives %v (%v), want %v", q, brief(got.Rows), err, brief(want.Rows))
	}
	numbers, err := s.Counts(ctx, q.Client)
	if err != nil {
		rt.Fatal(err)
	}
	if model, err := plain.Counts(ctx, q.Client); err != nil || !slices.Equal(numbers, model) {
		rt.Fatalf("counts of %q are %v, want %v (%v)", q.Client, numbers, model, err)
	}
	if wrong, err := s.Recount(ctx, false); wrong != 0 || err != nil {
		rt.Fatalf("%d numbers are wrong (%v)", wrong, err)
	}
}

// emptied takes the rows out, so that the next round begins anew on the same database.
func emptied(t *testing.T, s Subject, rows []reference.Row) {
	var ids []message.ID
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	s.replace(t, nil, ids...)
}

func pick[T any](rt *rapid.T, from ...T) T { return rapid.SampledFrom(from).Draw(rt, "pick") }

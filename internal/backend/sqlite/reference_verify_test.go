package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

// corrupt runs SQL on the read model behind everyone's back.
func (r *Reference) corrupt(t *testing.T, query string, args ...message.ID) {
	t.Helper()
	err := r.db.update(t.Context(), "test.corrupt", func(conn *sqlite.Conn) error {
		return run(conn, query, func(s *sqlite.Stmt) {
			for i, arg := range args {
				s.BindText(i+1, string(arg))
			}
		}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// digest is the oracle of I19: of all that Reference shows, in one number.
func digest(t *testing.T, rows []reference.Row, counts []reference.Count) [32]byte {
	t.Helper()
	slices.SortFunc(rows, func(a, b reference.Row) int { return strings.Compare(string(a.ID), string(b.ID)) })
	b, err := json.Marshal([]any{rows, counts})
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// wantFold compares Reference's digest with that of Guarantee's messages put into an empty model.
func wantFold(t *testing.T, r *Reference, truth *referencetest.Truth) {
	t.Helper()
	fold := referencetest.NewModel()
	if err := fold.Apply(t.Context(), truth.All(), reference.Stay); err != nil {
		t.Fatal(err)
	}
	read := func(s interface {
		reference.Store
		reference.Repairs
	}) [32]byte {
		rows, err := s.Walk(t.Context(), "", 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		counts, err := s.Counts(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return digest(t, rows, counts)
	}
	if read(r) != read(fold) {
		t.Error("I19: Reference is not the fold of Guarantee")
	}
}

// TestI19RebuildWhileRunning corrupts, verifies and rebuilds while messages move on a real Guarantee and a Follower works.
func TestI19RebuildWhileRunning(t *testing.T) {
	db, _ := openRecord(t, filepath.Join(t.TempDir(), "aval.db"), nil)
	g, o := NewGuarantee(db), NewOutbox(db)
	r, _ := openReference(t)
	s := &reference.Service{Source: g, Store: r, Repairs: r, Outbox: o}
	f := &reference.Follower{Source: g, Store: r, Repairs: r, Outbox: o}
	ctx, cancel := context.WithCancel(t.Context())
	var following, moving sync.WaitGroup
	following.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	recs := accepted(t, g, 300)
	for w := range 4 {
		moving.Go(func() { drive(t, g, recs[w*75:(w+1)*75]) })
	}
	for round := range 4 {
		r.corrupt(t, "DELETE FROM messages WHERE n % 7 = 0")
		r.corrupt(t, "UPDATE messages SET version = version + 100 WHERE n % 11 = 0")
		r.corrupt(t, "UPDATE messages SET amount = '0' WHERE n % 13 = 0")
		r.corrupt(t, "UPDATE messages SET id = id || 'x' WHERE n % 29 = 0")
		r.corrupt(t, "UPDATE tallies SET number = number + 1")
		var err error
		if round%2 == 0 {
			err = s.Rebuild(ctx, nil)
		} else {
			_, err = s.Verify(ctx, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	moving.Wait()
	if report, err := s.Verify(ctx, false); err != nil || !report.Clean() || report.Checked != 300 {
		t.Errorf("at the end verify finds %+v, %v", report, err)
	}
	cancel()
	following.Wait()
}

// drive takes messages through their steps, one commit a round, into the archive.
func drive(t *testing.T, g *Guarantee, recs []guarantee.Record) {
	for version := int64(1); version <= 40; version++ {
		var ts []guarantee.Transition
		for i := range recs {
			recs[i].Version = version
			step := guaranteetest.Step(recs[i], []string{"sign", "send", "confirm"}[version%3], guarantee.Running)
			if version == 40 {
				step.Status, step.Archive, step.Due = guarantee.Succeeded, true, time.Time{}
			}
			ts = append(ts, step)
		}
		refused, err := g.Commit(t.Context(), ts)
		if err != nil || slices.ContainsFunc(refused, func(err error) bool { return err != nil }) {
			t.Errorf("commit: %v, %v", refused, err)
			return
		}
	}
}

// TestI19CorruptRows changes one thing at a time in the file: verify finds exactly that, and a rebuild mends it.
func TestI19CorruptRows(t *testing.T) {
	tests := []struct {
		name, query string
		args        func(ids []message.ID) []message.ID
		want        reference.Report
	}{
		{"a row is gone", "DELETE FROM messages WHERE id = ?", first, reference.Report{Missing: 1, Counts: 1}},
		{"all rows are gone", "DELETE FROM messages", none, reference.Report{Missing: 41, Counts: 3}},
		{"a state is another one", "UPDATE messages SET tally = (SELECT max(id) FROM tallies) WHERE id = ?", first, reference.Report{Differing: 1, Counts: 2}},
		{"a tally is none", "UPDATE messages SET tally = 999 WHERE id = ?", first, reference.Report{Differing: 1, Counts: 1}},
		{"a version is too low", "UPDATE messages SET version = 1 WHERE id = ?", first, reference.Report{Stale: 1}},
		{"a version is too high", "UPDATE messages SET version = 900 WHERE id = ?", first, reference.Report{Differing: 1}},
		{"a reason", "UPDATE messages SET reason = 'invented' WHERE id = ?", first, reference.Report{Differing: 1}},
		{"an amount", "UPDATE messages SET amount = '1' WHERE id = ?", first, reference.Report{Differing: 1}},
		{"a wallet", "UPDATE messages SET wallet = 'wal_x' WHERE id = ?", first, reference.Report{Differing: 1}},
		{"a time", "UPDATE messages SET accepted = accepted - 1 WHERE id = ?", first, reference.Report{Differing: 1}},
		{"the archived flag", "UPDATE messages SET archived = 1 - archived WHERE id = ?", first, reference.Report{Differing: 1}},
		{"a row of another id", "UPDATE messages SET id = 'msg_invented' WHERE id = ?", first, reference.Report{Missing: 1, Extra: 1}},
		{"a number", "UPDATE tallies SET number = number + 5 WHERE id = 1", none, reference.Report{Counts: 1}},
		{"every number", "UPDATE tallies SET number = -1", none, reference.Report{Counts: 3}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, _ := openReference(t)
			truth := referencetest.NewTruth()
			ids := truth.Accept("cli_a", 40)
			for i, id := range ids {
				truth.Move(id, "sign", guarantee.Running)
				if i%2 == 0 {
					truth.Move(id, "done", guarantee.Succeeded)
				}
			}
			truth.Accept("cli_b", 1)
			s := &reference.Service{Source: truth, Store: r, Repairs: r, Outbox: truth.Log}
			if err := r.Apply(t.Context(), truth.All(), 101); err != nil {
				t.Fatal(err)
			}
			test.want.Checked = 41
			for _, mend := range []func() error{
				func() error { return s.Rebuild(t.Context(), nil) },
				func() error { _, err := s.Verify(t.Context(), true); return err },
			} {
				wantFold(t, r, truth)
				r.corrupt(t, test.query, test.args(ids)...)
				got, err := s.Verify(t.Context(), false)
				if err != nil {
					t.Fatal(err)
				}
				if got.Examples = nil; !reflect.DeepEqual(got, test.want) {
					t.Errorf("verify found %+v, want %+v", got, test.want)
				}
				if err := mend(); err != nil {
					t.Fatal(err)
				}
			}
			wantFold(t, r, truth)
		})
	}
}

func first(ids []message.ID) []message.ID { return ids[4:5] }
func none([]message.ID) []message.ID      { return nil }

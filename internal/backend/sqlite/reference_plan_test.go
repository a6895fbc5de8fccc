package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

// TestReadsUseTheirIndexes asks SQLite how it would run what is run often: nothing may be scanned or sorted.
func TestReadsUseTheirIndexes(t *testing.T) {
	r, _ := openReference(t)
	queries := map[string]string{
		"list of all":      walkAll,
		"list by tally":    walkTally,
		"list by wallet":   walkWallet,
		"row of a list":    selectMessage + " WHERE m.n = ?",
		"row by id":        selectMessage + " WHERE m.id = ?",
		"walk by id":       selectMessage + " WHERE m.id > ? ORDER BY m.id LIMIT ?",
		"row before":       messageBefore,
		"tally of a group": "SELECT id FROM tallies WHERE client = ? AND type = ? AND state = ? AND status = ?",
	}
	for name, query := range queries {
		t.Run(name, func(t *testing.T) {
			var plan []string
			err := r.db.view(t.Context(), func(conn *sqlite.Conn) error {
				return run(conn, "EXPLAIN QUERY PLAN "+query, nil, func(s *sqlite.Stmt) error {
					plan = append(plan, s.ColumnText(3))
					return nil
				})
			})
			if err != nil || len(plan) == 0 {
				t.Fatal(plan, err)
			}
			for _, step := range plan {
				if !strings.HasPrefix(step, "SEARCH") {
					t.Errorf("the plan has the step %q", step)
				}
			}
		})
	}
}

// TestListsPastThePlansLimits has more tallies, and a busier wallet, than the plan goes through one by one.
func TestListsPastThePlansLimits(t *testing.T) {
	r, _ := openReference(t)
	plain := referencetest.NewModel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rows := make([]reference.Row, fewMessages+2000)
	for i := range rows {
		rows[i] = reference.Row{
			ID: message.NewID(), Version: 1, State: "sign", Status: guarantee.Running,
			Accepted: at.Add(time.Duration(i*7919%len(rows)) * time.Second), Updated: at,
			Attributes: guarantee.Attributes{Client: fmt.Sprint("cli_", i%(manyTallies+100)), Type: "note.v1", Wallet: fmt.Sprint("wal_", i%2)},
		}
	}
	if err := r.Apply(t.Context(), rows, reference.Stay); err != nil {
		t.Fatal(err)
	}
	if err := plain.Apply(t.Context(), rows, reference.Stay); err != nil {
		t.Fatal(err)
	}
	for _, q := range []reference.Query{
		{State: "sign"}, {State: "sign", Wallet: "wal_1"}, {Wallet: "wal_0"}, {Status: guarantee.Running, To: at.Add(time.Hour)},
		{State: "sign", Client: "cli_7"}, {State: "none"}, {Client: "cli_7", Wallet: "wal_1"},
	} {
		for range 3 { // pages
			got, err := r.List(t.Context(), q)
			want, _ := plain.List(t.Context(), reference.Query{
				Client: q.Client, State: q.State, Status: q.Status, Wallet: q.Wallet, To: q.To, Limit: q.Limit,
			})
			if err != nil || len(got.Rows) != len(want.Rows) || (got.Next == "") != (want.Next == "") {
				t.Fatalf("%+v gives %d rows (%v), want %d", q, len(got.Rows), err, len(want.Rows))
			}
			for i := range want.Rows {
				if got.Rows[i].ID != want.Rows[i].ID {
					t.Fatalf("%+v gives %s at %d, want %s", q, got.Rows[i].ID, i, want.Rows[i].ID)
				}
			}
			if got.Next == "" {
				break
			}
			q.Cursor, q.To = got.Next, got.Rows[len(got.Rows)-1].Accepted // times are unique here: To is where the cursor stands
		}
	}
}

// TestGuaranteeIsASource holds Guarantee to what Reference needs of it.
func TestGuaranteeIsASource(t *testing.T) {
	referencetest.RunSource(t, func(t *testing.T) referencetest.SourceSubject {
		db, _ := openRecord(t, filepath.Join(t.TempDir(), "aval.db"), nil)
		g, o := NewGuarantee(db), NewOutbox(db)
		drive(t, g, accepted(t, g, 4))
		accepted(t, g, 5)
		newest := map[message.ID]guarantee.Snapshot{}
		events, err := o.Read(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events { // I19: the fold of the events is what the messages are
			newest[e.ID] = e.Snapshot
		}
		subject := referencetest.SourceSubject{Source: g}
		for _, snap := range newest {
			subject.Want = append(subject.Want, snap)
		}
		return subject
	})
}

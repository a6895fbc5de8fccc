//go:build cluster

package postgres_test

import (
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
)

// TestStatementsLookUpWhatWasEmpty: after a quiet hour the statistics say that nothing is live. What comes then is looked up row by row
// all the same: a plan that goes through a whole table costs a second for each batch once thousands of messages are in hand.
func TestStatementsLookUpWhatWasEmpty(t *testing.T) {
	s := newStorage(t)
	for _, table := range []string{"messages", "due", "parts", "issued"} {
		trial.Execute(t, s.Admin, "VACUUM ANALYZE aval."+table)
	}
	db := s.open(t)
	for name, statement := range postgres.HotStatements() {
		lines, err := postgres.Plan(t.Context(), db, statement)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i, line := range lines {
			scan := strings.Contains(line, "Scan using") || strings.Contains(line, "Bitmap Index Scan") || strings.Contains(line, "Seq Scan")
			bounded := i+1 < len(lines) && strings.Contains(lines[i+1], "Index Cond:")
			if strings.Contains(line, "Join Filter:") || scan && !bounded {
				t.Errorf("%s goes through all rows:\n%s", name, strings.Join(lines, "\n"))
				break
			}
		}
	}
}

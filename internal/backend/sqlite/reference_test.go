package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

func openReference(t *testing.T) (*Reference, *fault.Points) {
	t.Helper()
	points := fault.New()
	db, err := OpenReference(t.Context(), filepath.Join(t.TempDir(), "reference.db"), Options{Faults: points})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return NewReference(db), points
}

func TestReference(t *testing.T) {
	referencetest.Run(t, func(t *testing.T) referencetest.Subject {
		r, points := openReference(t)
		return referencetest.Subject{Store: r, Repairs: r, Faults: points}
	})
}

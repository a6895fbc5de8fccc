package sqlite

import (
	"errors"
	"testing"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

// TestI19RecountFails lets the mending of counts fail, and fail after it has persisted. It takes wrong numbers in the file to
// come this far: no write of Aval's leads to them.
func TestI19RecountFails(t *testing.T) {
	for side, wrong := range map[string]int64{".before": 1, ".after": 0} {
		r, faults := openReference(t)
		truth := referencetest.NewTruth()
		truth.Accept("cli_a", 5)
		if err := r.Apply(t.Context(), truth.All(), reference.Stay); err != nil {
			t.Fatal(err)
		}
		r.corrupt(t, "UPDATE tallies SET number = number + 5")
		faults.Arm("reference.recount"+side, fault.Fail, 1)
		if _, err := r.Recount(t.Context(), true); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("recount%s failed, and was answered with %v", side, err)
		}
		if got, err := r.Recount(t.Context(), false); err != nil || got != wrong {
			t.Errorf("after recount%s had failed, %d numbers were wrong, %v; want %d", side, got, err, wrong)
		}
		if _, err := r.Recount(t.Context(), true); err != nil {
			t.Error(err)
		}
		wantFold(t, r, truth)
	}
}

package sqlite

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/fault"
)

// A trim that fails has forgotten nothing; one that is reported as failed and has persisted has forgotten what it should, and
// no more. Either way the same trim again is harmless.
func TestTrimFails(t *testing.T) {
	for side, first := range map[string]int64{".before": 1, ".after": 6} {
		faults := fault.New()
		db, _ := openRecord(t, filepath.Join(t.TempDir(), "aval.db"), faults)
		o := NewOutbox(db)
		accepted(t, NewGuarantee(db), 10)
		faults.Arm("outbox.trim"+side, fault.Fail, 1)
		if err := o.Trim(t.Context(), 5); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("trim%s failed, and was answered with %v", side, err)
		}
		if got, last, err := o.Bounds(t.Context()); err != nil || got != first || last != 10 {
			t.Errorf("after trim%s had failed the outbox held %d to %d, %v; want %d to 10", side, got, last, err, first)
		}
		if err := o.Trim(t.Context(), 5); err != nil {
			t.Error(err)
		}
		if events, err := o.Read(t.Context(), 0, 100); err != nil || len(events) != 5 || events[0].Seq != 6 {
			t.Errorf("then it held %d events, %v", len(events), err)
		}
	}
}

package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/action/controlpoint/controlpointtest"
	"github.com/avalhq/aval/internal/fault"
)

func TestCalls(t *testing.T) {
	controlpointtest.Run(t, func(t *testing.T) controlpointtest.Subject {
		return callsAt(t, filepath.Join(t.TempDir(), "aval.db"))
	})
}

func callsAt(t *testing.T, path string) controlpointtest.Subject {
	faults := fault.New()
	db, closeDB := openRecord(t, path, faults)
	return controlpointtest.Subject{Journal: NewCalls(db), Faults: faults, Reopen: func(t *testing.T) controlpointtest.Subject {
		closeDB()
		return callsAt(t, path)
	}}
}

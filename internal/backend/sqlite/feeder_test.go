package sqlite

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder/feedertest"
)

func TestFeeder(t *testing.T) {
	feedertest.Run(t, func(t *testing.T) feedertest.Backend {
		return feederAt(t, filepath.Join(t.TempDir(), "aval.db"))
	})
}

func feederAt(t *testing.T, path string) feedertest.Backend {
	db, closeDB := openRecord(t, path, nil)
	var passed atomic.Int64
	clock := func() time.Time { return feedertest.Start.Add(time.Duration(passed.Load())) }
	f := NewFeeder(db, clock)
	return feedertest.Backend{
		Feeder: f, Nudges: f, Alone: true, Store: NewGuarantee(db), Advance: func(d time.Duration) { passed.Add(int64(d)) },
		Reopen: func(t *testing.T) feedertest.Backend {
			closeDB()
			return feederAt(t, path)
		},
	}
}

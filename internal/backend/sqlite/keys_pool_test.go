package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
)

// TestPoolLeavesWhatIsAwaited: a pool's request does not take the key for which somebody came earlier.
func TestPoolLeavesWhatIsAwaited(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	k := NewKeys(db)
	for _, id := range []string{"a", "b"} {
		if err := k.Add(t.Context(), key.Key{ID: id, Chain: "c", Address: id, Pool: "hot"}); err != nil {
			t.Fatal(err)
		}
	}
	k.queue.Join(line.NewClaim("a", line.PoolOf("c", "hot")))
	l, err := k.Lease(t.Context(), key.Request{Holder: "p/w", Chain: "c", Pool: "hot", TTL: time.Hour})
	if err != nil || l.Key.ID != "b" {
		t.Errorf("leased %s, %v; want b", l.Key.ID, err)
	}
}

package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/custody/key"
)

// SetAsideRestored quarantines every key of a database that was restored, and gives their number. A key whose nonce was never
// compared counts as never used, so that a chain that shows another nonce is foreign use.
func (k *Keys) SetAsideRestored(ctx context.Context, why string) (n int, err error) {
	err = k.db.update(ctx, "keys.restored", func(conn *sqlite.Conn) error {
		err := run(conn, "UPDATE keys SET status = 'quarantined', holder = ?, reason = ?, known = 1", func(s *sqlite.Stmt) {
			s.BindText(1, key.Restored)
			s.BindText(2, why)
		}, nil)
		n = conn.Changes()
		return err
	})
	return n, err
}

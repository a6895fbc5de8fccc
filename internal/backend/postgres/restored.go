package postgres

import (
	"context"

	"github.com/avalhq/aval/internal/custody/key"
)

// SetAsideRestored quarantines every key of a database that was restored, and gives their number. A key whose nonce was never
// compared counts as never used, so that a chain that shows another nonce is foreign use.
func (k *Keys) SetAsideRestored(ctx context.Context, why string) (n int, err error) {
	err = k.db.update(ctx, "keys.restored", func() error {
		tag, err := k.db.pool.Exec(ctx, "UPDATE keys SET status = 'quarantined', holder = $1, reason = $2, known = true, instance = 0, expires = NULL", key.Restored, clean(why))
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

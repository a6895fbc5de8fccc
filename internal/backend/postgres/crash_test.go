//go:build cluster

package postgres

import (
	"context"
	"time"
)

// Crash ends a process as SIGKILL does, as far as the server can tell: the connections break, nothing is given back.
func Crash(db *DB) {
	db.stop()
	db.stopped.Wait()
	if in := db.instance; in.conn != nil {
		_ = in.conn.PgConn().Conn().Close()
	}
	db.closePools()
}

// The classes of the advisory locks of seats and of instances.
const (
	SeatClass     = seatClass
	InstanceClass = lockClass
)

// TrimBus does once what each process does every minute.
func TrimBus(ctx context.Context, db *DB, now time.Time) (int64, error) { return db.trimBus(ctx, now) }

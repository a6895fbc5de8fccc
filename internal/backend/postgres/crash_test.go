//go:build cluster

package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

// HotStatements are those that every message passes, for the tables that are mostly empty.
func HotStatements() map[string]string {
	return map[string]string{"accept": acceptSQL, "load": loadSQL, "commit": commitSQL, "claim": claimSQL, "settle": settleSQL, "nudge": nudgeSQL, "outbox": readSQL}
}

// Plan is how the server carries a statement out, with the settings of a process and whatever its arguments are.
func Plan(ctx context.Context, db *DB, statement string) (lines []string, err error) {
	err = db.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		prepared, err := conn.Conn().Prepare(ctx, "explained", statement)
		if err != nil {
			return err
		}
		nothing := "(" + strings.TrimSuffix(strings.Repeat("NULL,", len(prepared.ParamOIDs)), ",") + ")"
		found, err := conn.Query(ctx, "EXPLAIN (COSTS OFF) EXECUTE explained"+nothing, pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			lines, err = pgx.CollectRows(found, pgx.RowTo[string])
		}
		return errors.Join(err, conn.Conn().Deallocate(ctx, "explained"))
	})
	return lines, err
}

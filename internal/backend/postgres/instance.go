package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockClass makes the advisory locks of instances distinct from those of other programs in the database; see also schema/.
const lockClass = 1635148140

// beat is how often an instance looks whether its connection lives and whether others have ended.
const beat = time.Second

// instance is this process as the others see it. It lives for as long as its connection holds the advisory lock: when the
// process is killed the server notices at once, and when its machine is cut off after the keepalives, in about 11 seconds.
type instance struct {
	db   *DB
	id   int32
	conn *pgx.Conn // used by keep alone
}

// register takes a new number. It is locked before it is listed: who is listed and not locked has ended.
func (db *DB) register(ctx context.Context) (*instance, error) {
	in := &instance{db: db}
	if err := db.pool.QueryRow(ctx, "SELECT nextval('instance_ids')::integer").Scan(&in.id); err != nil {
		return nil, err
	}
	return in, in.join(ctx)
}

// join connects, locks and lists the instance, for the first time or after its connection was lost.
func (in *instance) join(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, in.db.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	in.conn = conn
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1, $2)", lockClass, in.id); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "INSERT INTO instances (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", in.id, in.db.options.Name)
	if err == nil {
		err = in.bury(ctx)
	}
	return err
}

// keep holds the lock until ctx ends.
func (in *instance) keep(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		bounded, cancel := context.WithTimeout(ctx, 10*beat)
		if in.conn == nil || in.conn.IsClosed() {
			_ = in.join(bounded) // the server is away: what needs it says so, and the next beat tries again
		} else if err := in.bury(bounded); err != nil {
			_ = in.conn.Close(bounded)
		}
		cancel()
	}
}

// bury releases what instances that have ended had claimed. Their keys are set aside by whoever meets them (I10).
func (in *instance) bury(ctx context.Context) error {
	ended, err := rows(ctx, in.db, in.conn, pgx.RowTo[int32], "SELECT id FROM instances i WHERE id <> $1 AND pg_try_advisory_lock_shared($2, id)", in.id, lockClass)
	if err != nil {
		return err
	}
	for _, id := range ended {
		_, unlocked := in.conn.Exec(ctx, "SELECT pg_advisory_unlock_shared($1, $2)", lockClass, id)
		if err := errors.Join(in.strikeOff(ctx, id), unlocked); err != nil {
			return err
		}
	}
	if len(ended) > 0 {
		in.db.announce()
	}
	return nil
}

// strikeOff takes an instance from the list and hands out again what it had claimed.
func (in *instance) strikeOff(ctx context.Context, id int32) error {
	return pgx.BeginFunc(ctx, in.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM instances WHERE id = $1", id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE due SET claimer = 0 WHERE claimer IN ($1::integer, -$1::integer)", id); err != nil {
			return err
		}
		return dismiss(ctx, tx, "instance", int64(id))
	})
}

// leave ends the instance in order: its claims are free at once.
func (in *instance) leave() error {
	if in.conn == nil || in.conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := in.strikeOff(ctx, in.id)
	_, unlocked := in.conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	return errors.Join(err, unlocked, in.conn.Close(ctx))
}

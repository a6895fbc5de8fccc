package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/avalhq/aval/internal/lifecycle"
)

// seatClass makes the advisory locks of seats distinct from those of instances.
const seatClass = lockClass + 1

// How a seat is watched. A server that is cut off gives the lock to others after its keepalives have failed, in about 11 seconds;
// who has the seat learns of it sooner.
const (
	seatLook  = 500 * time.Millisecond // between two tries for a seat that another has
	seatBeat  = time.Second            // between two questions whether the connection lives
	seatReply = 3 * time.Second        // for the answer
)

// Elections serves leader.Elections: a seat is an advisory lock, held by a session of its own. Whoever has it listens on that
// connection all the time, so the end of the connection is noticed at once and a silent one within seconds.
//
// Those who wait look again and again, rather than in a statement that blocks: that would hold back vacuum for as long.
type Elections struct{ db *DB }

// NewElections uses the system of record.
func NewElections(db *DB) *Elections { return &Elections{db: db} }

// Hold waits for the lock.
func (e *Elections) Hold(ctx context.Context, seat string) (term context.Context, leave func(), err error) {
	conn, err := e.win(ctx, seat)
	if err != nil {
		return nil, nil, e.db.describe(err)
	}
	term, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		listen(term, conn)
		resign(conn)
	}()
	return term, func() { cancel(); <-ended }, nil
}

// win connects, and looks until the lock is free.
func (e *Elections) win(ctx context.Context, seat string) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, e.db.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	for {
		var won bool
		err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, hashtext($2))", seatClass, seat).Scan(&won)
		if won && err == nil {
			return conn, nil
		}
		if err == nil {
			err = lifecycle.Sleep(ctx, seatLook)
		}
		if err != nil {
			resign(conn)
			return nil, err
		}
	}
}

// listen returns when the connection is lost or ctx ends.
func listen(ctx context.Context, conn *pgx.Conn) {
	for ctx.Err() == nil {
		beat, cancel := context.WithTimeout(ctx, seatBeat)
		_, err := conn.WaitForNotification(beat) // there are none: it returns when the time is over or the connection ends
		cancel()
		if err != nil && !pgconn.Timeout(err) && !errors.Is(err, context.DeadlineExceeded) {
			return
		}
		reply, cancel := context.WithTimeout(ctx, seatReply)
		err = conn.Ping(reply)
		cancel()
		if err != nil {
			return
		}
	}
}

// resign ends the session, and with it the lock.
func resign(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // a connection that cannot say goodbye is cut: the server notices
}

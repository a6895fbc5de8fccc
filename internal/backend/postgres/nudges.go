package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
)

// Nudges are notifications of PostgreSQL. Transactions that notify commit one after the other, so they are few and wait for no disk.

// channel is what nudges are notified on: an action and the ids of messages, with spaces between.
const channel = "aval_nudges"

// nudged is how many ids go into one notification, which has room for 8,000 bytes.
const nudged = 200

// quiet is after how long without a notification it is asked whether the connection still lives.
const quiet = 5 * time.Second

// nudgeSQL makes due what nobody has claimed, and notifies in the same commit.
const nudgeSQL = `WITH hastened AS (
	UPDATE due SET at = $2 WHERE id = ANY ($1::text[]) AND claimer = 0 AND at > $2
)
SELECT count(pg_notify('` + channel + `', told)) FROM unnest($3::text[]) AS told`

// Nudge tells every process that listens.
func (f *Feeder) Nudge(ctx context.Context, action string, ids []message.ID) error {
	list := texts(ids)
	slices.Sort(list) // the order in which commits lock them, too
	var told []string
	for some := range slices.Chunk(list, nudged) {
		told = append(told, action+" "+strings.Join(some, " "))
	}
	err := undeadlocked(func() error {
		_, err := f.db.lazy.Exec(ctx, nudgeSQL, list, micros(f.now()), told)
		return err
	})
	f.db.announce()
	return f.db.describe(err)
}

// Listen hears on a connection of its own, and connects again when that was lost.
func (f *Feeder) Listen(ctx context.Context, heard func(string, []message.ID)) {
	for ctx.Err() == nil {
		f.db.listen(ctx, heard)
		_ = lifecycle.Sleep(ctx, beat)
	}
}

// listen ends when the connection is lost.
func (db *DB) listen(ctx context.Context, heard func(string, []message.ID)) {
	conn, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig)
	if err != nil {
		return // the server is away: what needs it says so
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), pong)
		defer cancel()
		_ = conn.Close(bounded)
	}()
	for _, err = conn.Exec(ctx, "LISTEN "+channel); err == nil; err = db.hear(ctx, conn, heard) {
		continue
	}
}

// hear waits for a notification, or finds out that the connection is still good.
func (db *DB) hear(ctx context.Context, conn *pgx.Conn, heard func(string, []message.ID)) error {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return conn.Ping(ctx)
	}
	if err != nil {
		return err
	}
	action, rest, _ := strings.Cut(n.Payload, " ")
	var ids []message.ID
	for _, id := range strings.Fields(rest) {
		ids = append(ids, message.ID(id))
	}
	heard(action, ids)
	return nil
}

package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How long the server may be silent. A connection can be lost without a word: then nothing that the operating system knows of
// ever ends a read, and what waits for an answer would wait for ever, whether its caller has a deadline or not.
const (
	patience = 10 * time.Second // for a statement, or for a connection to become free; then its outcome is unknown, and the connection given up
	pong     = 2 * time.Second  // for a connection that was idle, before it is used again; and for the goodbye of one that is given up
	vanished = "11000"          // milliseconds after which the server ends the session of a client whose machine answers no more
)

// settings bound, on the server's side, what a client that has vanished leaves behind: its session, with its locks and seats.
// Keepalives find out about a session that is idle; tcp_user_timeout about one that was being answered.
var settings = map[string]string{
	"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": vanished,
	"idle_in_transaction_session_timeout": vanished,
}

// limits bounds every statement, and every wait for a connection, in time. It is a tracer, which pgx lets choose the context.
type limits struct{}

// unhurried lets a statement take as long as its caller has time: for what has to read a whole table.
func unhurried(ctx context.Context) context.Context { return context.WithValue(ctx, slow{}, true) }

type (
	slow       struct{} // set where a statement may take its time
	limited    struct{} // holds the func that ends the limit
	connecting struct{} // set while a connection is made
)

func begin(ctx context.Context) context.Context {
	if ctx.Value(slow{}) != nil {
		return ctx
	}
	bounded, end := context.WithTimeout(ctx, patience)
	return context.WithValue(bounded, limited{}, end)
}

func end(ctx context.Context) {
	if end, is := ctx.Value(limited{}).(context.CancelFunc); is {
		end()
	}
}

// TraceQueryStart begins a statement.
func (limits) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return begin(ctx)
}

// TraceQueryEnd ends it. The driver gives a connection up whose statement was not answered in time, and waits for the server's goodbye,
// which may never come, before another one may take its place.
func (limits) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Err() != nil && conn.PgConn().IsClosed() {
		socket := conn.PgConn().Conn()
		time.AfterFunc(pong, func() { _ = socket.Close() }) // it may be closed already
	}
	end(ctx)
}

// TraceConnectStart begins a connection.
func (limits) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return context.WithValue(ctx, connecting{}, true)
}

// TraceConnectEnd has nothing to end.
func (limits) TraceConnectEnd(context.Context, pgx.TraceConnectEndData) {}

// dial connects. What is no new connection is the driver's request to the server to stop a statement: that one is a courtesy, for which
// the place of the connection in the pool is kept free for a moment only.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if ctx.Value(connecting{}) != nil {
		return d.DialContext(ctx, network, address)
	}
	bounded, end := context.WithTimeout(ctx, pong)
	defer end()
	conn, err := d.DialContext(bounded, network, address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(pong))
	}
	return conn, err
}

// TraceAcquireStart begins a wait for a connection.
func (limits) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return begin(ctx)
}

// TraceAcquireEnd ends it.
func (limits) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	end(ctx)
}

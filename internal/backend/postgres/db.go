// Package postgres serves every port from one PostgreSQL database, for any number of processes at once.
//
// A DB is a process's share of it: a pool of connections and an instance. The instance is a number whose advisory lock is
// held on a connection of its own, so that every other process sees at once, and without a clock, that this one has ended;
// what it had claimed is then handed out again, and the keys that it held are set aside. All of that is a hint: what decides
// is the compare-and-swap of a message and the fence of a key, in the same statement as the write.
//
// Writes that come thousands of times a second are one statement for a whole batch (unnest, and a WITH for each table), and
// so one round trip and one fsync. The application's user can neither change nor delete what only grows: see schema/ for
// the tables and admin.go for the rights. Nothing is retried blindly: an error leaves the outcome unknown, as the ports say,
// but for a deadlock, which PostgreSQL has undone.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// Schema is the schema that holds everything.
const Schema = "aval"

// Options of a DB.
type Options struct {
	Name   string        // of this process, for operators; the instance's number is added to it
	Faults *fault.Points // for tests; nil in production
	Pool   int           // connections; 0 means 16
}

// DB is a process's share of the database.
type DB struct {
	options  Options
	where    string // the server and database, for messages: without user and password
	pool     *pgxpool.Pool
	lazy     *pgxpool.Pool // for what may be lost: the read model, claims. Its commits do not wait for the disk
	instance *instance
	wake     chan struct{} // closed and replaced when this process has written; guarded by mu
	mu       sync.Mutex
	accepts  chan *acceptance
	stop     context.CancelFunc
	stopped  sync.WaitGroup
}

// Open connects as the application's user, to a database that `aval database init` has prepared.
func Open(ctx context.Context, url string, options Options) (*DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, unusable(url, err)
	}
	db := &DB{options: options, where: location(config.ConnConfig), wake: make(chan struct{}), accepts: make(chan *acceptance, 1024)}
	if err := db.connect(ctx, config); err != nil {
		return nil, err
	}
	if err := db.ready(ctx); err != nil {
		db.closePools()
		return nil, atStart(db.where, err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	db.stop = stop
	db.stopped.Go(func() { db.instance.keep(running) })
	db.stopped.Go(func() { db.trimming(running) })
	for range acceptors {
		db.stopped.Go(func() { db.accepting(running) })
	}
	return db, nil
}

func location(c *pgx.ConnConfig) string { return fmt.Sprintf("%s:%d/%s", c.Host, c.Port, c.Database) }

// connect makes the two pools. Every hot statement looks rows up by key for each element of an array. PostgreSQL cannot know
// how few they are, and would now and then scan whole tables instead, so it is told not to. Nor does it know that a table which
// was empty a moment ago is not any more, and then prefers to go through all of it: so the statements leave it no choice, by an
// array of keys (= ANY) or a look-up for each element (LATERAL with LIMIT 1).
func (db *DB) connect(ctx context.Context, config *pgxpool.Config) (err error) {
	size := db.options.Pool
	if size == 0 {
		size = 16
	}
	config.MaxConns, config.ConnConfig.ConnectTimeout = int32(size), 10*time.Second
	config.ConnConfig.Tracer, config.ConnConfig.DialFunc, config.PingTimeout = limits{}, dial, pong
	given := config.ConnConfig.RuntimeParams
	maps.Copy(given, settings)
	for name, value := range map[string]string{
		"search_path": Schema, "application_name": "aval " + db.options.Name, "jit": "off", "plan_cache_mode": "force_generic_plan",
		"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off",
	} {
		given[name] = value
	}
	lazy := config.Copy()
	lazy.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return db.describe(err)
	}
	if db.lazy, err = pgxpool.NewWithConfig(ctx, lazy); err != nil {
		db.pool.Close()
		return db.describe(err)
	}
	return nil
}

// ready checks the schema and takes an instance. Errors are the driver's, or refusals.
func (db *DB) ready(ctx context.Context) (err error) {
	if err := db.checkLevel(ctx); err != nil {
		return err
	}
	if _, err := db.pool.Exec(ctx, "SELECT make_partitions()"); err != nil {
		return err
	}
	db.instance, err = db.register(ctx)
	return err
}

// Close waits for what is under way, gives the instance back and closes the connections.
func (db *DB) Close() error {
	db.stop()
	db.stopped.Wait()
	err := db.instance.leave()
	db.closePools()
	return err
}

func (db *DB) closePools() {
	db.lazy.Close()
	db.pool.Close()
}

// Process names this process among all that share the database: in the history, and as the holder of leases.
func (db *DB) Process() string { return fmt.Sprintf("%s-%d", db.options.Name, db.instance.id) }

// Ping asks the server whether it answers, for readiness.
func (db *DB) Ping(ctx context.Context) error { return db.describe(db.pool.Ping(ctx)) }

// update strikes the fault points around a durable write.
func (db *DB) update(ctx context.Context, name string, write func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.strike(name + ".before"); err != nil {
		return err
	}
	if err := db.describe(write()); err != nil {
		return err
	}
	return db.strike(name + ".after")
}

// transaction is update for several statements.
func (db *DB) transaction(ctx context.Context, name string, write func(pgx.Tx) error) error {
	return db.update(ctx, name, func() error { return pgx.BeginFunc(ctx, db.pool, write) })
}

func (db *DB) strike(point string) error {
	if err := db.options.Faults.Hit(point); err != nil {
		return problem.New(problem.Unavailable, "storage-failed", "write to the database %s: %w", db.where, err)
	}
	return nil
}

// announce wakes whoever in this process waits for a commit. Other processes find it when they look again.
func (db *DB) announce() {
	db.mu.Lock()
	defer db.mu.Unlock()
	close(db.wake)
	db.wake = make(chan struct{})
}

func (db *DB) commits() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.wake
}

// await ends at this process's next commit, after the time, or with ctx.
func await(ctx context.Context, changed <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// rows reads all rows of a query.
func rows[T any](ctx context.Context, db *DB, from querier, read pgx.RowToFunc[T], query string, args ...any) ([]T, error) {
	result, err := from.Query(ctx, query, args...)
	if err != nil {
		return nil, db.describe(err)
	}
	list, err := pgx.CollectRows(result, read)
	return list, db.describe(err)
}

// one reads the single row of a query; found is false when there is none.
func one[T any](ctx context.Context, db *DB, from querier, read pgx.RowToFunc[T], query string, args ...any) (value T, found bool, err error) {
	list, err := rows(ctx, db, from, read, query, args...)
	if err != nil || len(list) == 0 {
		return value, false, err
	}
	return list[0], true, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

// isNone tells that a query gave no row.
func isNone(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// Package sqlite serves every port of the embedded size from SQLite files: nothing to install, one process.
//
// A DB is one file in WAL mode with synchronous=FULL: a write that returned is on stable storage. All writes go through
// one goroutine that commits whatever is waiting together (see writer.go); reads use connections of their own and see
// everything that was committed before they began. The file is locked by one process at a time; therefore who works on
// what right now (claims of the feeder, waiters for a lease) is kept in memory and vanishes with the process.
//
// The system of record and custody share one file, so that they commit together. Reference has its own, which need not
// be durable. Each port has a Go file and, where it has tables, a script in schema/.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

//go:embed schema
var scripts embed.FS

// connections is how many there are for reads.
const connections = 4

// Options of a DB.
type Options struct {
	Faults  *fault.Points // for tests; nil in production
	relaxed bool          // reference: may lose its tail in a power cut, never its shape
	schema  string        // folder of the migration scripts
}

// DB is one open file.
type DB struct {
	path    string
	options Options
	writer  *sqlite.Conn
	readers *sqlitex.Pool
	queue   chan *write
	stop    chan struct{}
	stopped chan struct{}
	lock    *os.File
	clients *Clients // one for all who ask: it remembers what it has read

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each commit
	fatal   chan error    // gets the failure after which nothing is written any more
}

// Open opens or makes the system of record at path.
func Open(ctx context.Context, path string, options Options) (*DB, error) {
	options.schema = "schema/record"
	return open(ctx, path, options)
}

// OpenReference opens or makes the file of the read model at path.
func OpenReference(ctx context.Context, path string, options Options) (*DB, error) {
	options.schema, options.relaxed = "schema/reference", true
	return open(ctx, path, options)
}

func open(ctx context.Context, path string, options Options) (*DB, error) {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	conn, err := prepare(ctx, path, options)
	if err != nil {
		return nil, errors.Join(describe(path, err), lock.Close())
	}
	readers, err := reading(path, connections)
	if err != nil {
		return nil, errors.Join(describe(path, err), conn.Close(), lock.Close())
	}
	db := &DB{
		path: path, options: options, writer: conn, readers: readers, lock: lock,
		queue: make(chan *write, 1024), stop: make(chan struct{}), stopped: make(chan struct{}),
		changed: make(chan struct{}), fatal: make(chan error, 1),
	}
	db.clients = &Clients{db: db, cache: map[string]clients.Client{}}
	go db.write()
	return db, nil
}

// reading makes connections that read.
func reading(path string, size int) (*sqlitex.Pool, error) {
	return sqlitex.NewPool(path, sqlitex.PoolOptions{
		PoolSize: size, Flags: sqlite.OpenReadWrite | sqlite.OpenWAL,
		PrepareConn: func(c *sqlite.Conn) error {
			return pragmas(c, "query_only = on", "cache_size = -8000")
		},
	})
}

// OpenReader opens the system of record at path to be read, also while a process uses it. Nothing can be written through it.
func OpenReader(ctx context.Context, path string) (*DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, problem.New(problem.NotFound, "storage-missing", "there is no system of record at %s (%w); give the data folder of an installation", path, err)
	}
	readers, err := reading(path, 1)
	if err != nil {
		return nil, describe(path, err)
	}
	db := &DB{path: path, readers: readers}
	schema, err := migrations("schema/record")
	if err == nil {
		err = db.view(ctx, func(conn *sqlite.Conn) error { return level(conn, path, len(schema.Migrations)) })
	}
	if err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	return db, nil
}

// level refuses a file with another schema than this program's.
func level(conn *sqlite.Conn, path string, want int) error {
	is, err := sqlitex.ResultInt(conn.Prep("PRAGMA user_version"))
	if err == nil && is != want {
		err = problem.New(problem.Invalid, "storage-other-version", "%s is at level %d and this program reads level %d; use the program of the version that serves it", path, is, want)
	}
	return err
}

// notNewer refuses a file that a newer program has written, before anything of it is changed.
func notNewer(conn *sqlite.Conn, path string, known int) error {
	is, err := sqlitex.ResultInt(conn.Prep("PRAGMA user_version"))
	if err == nil && is > known {
		err = problem.New(problem.Invalid, "storage-too-new", "%s is at level %d and this program knows level %d; start the newer program, or restore a backup that this one can read", path, is, known)
	}
	return err
}

// prepare opens the writing connection and brings the schema up to date.
func prepare(ctx context.Context, path string, options Options) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenWAL)
	if err != nil {
		return nil, err
	}
	schema, err := migrations(options.schema)
	if err == nil {
		err = notNewer(conn, path, len(schema.Migrations))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	sync := "FULL"
	if options.relaxed {
		sync = "NORMAL"
	}
	if err := pragmas(conn, "synchronous = "+sync, "cache_size = -32000", "wal_autocheckpoint = 4000", "foreign_keys = on"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := sqlitemigration.Migrate(ctx, conn, schema); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func pragmas(conn *sqlite.Conn, settings ...string) error {
	for _, setting := range settings {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+setting, nil); err != nil {
			return fmt.Errorf("set %s: %w", setting, err)
		}
	}
	return nil
}

func migrations(folder string) (sqlitemigration.Schema, error) {
	names, err := fs.Glob(scripts, folder+"/*.sql") // sorted: 0001_…, 0002_…
	if err != nil {
		return sqlitemigration.Schema{}, err
	}
	var schema sqlitemigration.Schema
	for _, name := range names {
		script, err := scripts.ReadFile(name)
		if err != nil {
			return schema, err
		}
		schema.Migrations = append(schema.Migrations, string(script))
	}
	return schema, nil
}

// Close waits for the writes under way, then closes the file. The writing connection is the last to go: it is the last that
// folds the write-ahead log into the file, and a reading one that was interrupted leaves that undone.
func (db *DB) Close() error {
	if db.lock == nil { // a reader's
		return db.readers.Close()
	}
	close(db.stop)
	<-db.stopped
	return errors.Join(db.readers.Close(), db.writer.Close(), db.lock.Close())
}

// Fatal gives the failure after which the file refuses writes; the process should stop.
func (db *DB) Fatal() <-chan error { return db.fatal }

// view runs a read on a connection of its own, in one snapshot when it holds several statements. A read that the end of
// ctx interrupted gives ctx's error.
func (db *DB) view(ctx context.Context, read func(*sqlite.Conn) error) (err error) {
	defer func() {
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt && ctx.Err() != nil {
			err = fmt.Errorf("read %s: %w", db.path, ctx.Err())
		}
	}()
	conn, err := db.readers.Take(ctx)
	if err != nil {
		return fmt.Errorf("wait for a read connection to %s: %w", db.path, err)
	}
	defer db.readers.Put(conn)
	defer sqlitex.Transaction(conn)(&err)
	return read(conn)
}

// commits gives a channel that is closed at the next commit.
func (db *DB) commits() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.changed
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, problem.New(problem.Unavailable, "storage-unwritable", "cannot open %s: %w; check that the data folder exists and is writable", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, problem.New(problem.Conflict, "storage-in-use", "%s is held by another process (%w); stop that one or choose another data folder", path, err)
	}
	return f, nil
}

// describe turns what SQLite says of a file into a sentence that says what to do.
func describe(path string, err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return problem.New(problem.Internal, "storage-corrupt", "%s is damaged (%w); restore it from a backup, or move it away to start anew", path, err)
	case sqlite.ResultFull:
		return problem.New(problem.Unavailable, "storage-full", "the disk that holds %s is full (%w); free some space, nothing accepted is lost", path, err)
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly, sqlite.ResultPerm:
		return problem.New(problem.Unavailable, "storage-unwritable", "cannot open %s for writing (%w); check the folder and its permissions", path, err)
	}
	return fmt.Errorf("use %s: %w", path, err)
}

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/problem"
)

// most is the number of writes that share one commit at the most.
const most = 512

// write is one caller's change, waiting for the next commit.
type write struct {
	name  string // names its fault points: name.before, name.after
	apply func(*sqlite.Conn) error
	bare  bool // without a savepoint of its own
	err   error
	done  chan struct{}
}

// update applies a change and returns when it is durable. The change's own error undoes it alone; any other error means
// that it was not applied or, where the commit itself failed, that its outcome is unknown.
func (db *DB) update(ctx context.Context, name string, apply func(*sqlite.Conn) error) error {
	return db.enqueue(ctx, &write{name: name, apply: apply})
}

// updateBare is update for the changes that are made thousands of times a second. It spares them a savepoint, which costs
// as much as the change: what they refuse, they must refuse before they write. An error after that undoes the whole batch.
func (db *DB) updateBare(ctx context.Context, name string, apply func(*sqlite.Conn) error) error {
	return db.enqueue(ctx, &write{name: name, apply: apply, bare: true})
}

func (db *DB) enqueue(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.done = make(chan struct{})
	select {
	case db.queue <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stopped:
		return db.closed()
	}
	select {
	case <-w.done: // never given up half way: the answer tells what happened
		return w.err
	case <-db.stopped:
		select {
		case <-w.done:
			return w.err
		default:
			return db.closed()
		}
	}
}

func (db *DB) closed() error {
	return problem.New(problem.Unavailable, "storage-closed", "%s is closed; the process is stopping", db.path)
}

// write is the writing goroutine: it takes what waits, and commits it together. Under load the batches grow by
// themselves, because the next one gathers while the disk syncs this one; alone, a write waits for nobody.
func (db *DB) write() {
	defer close(db.stopped)
	batch := make([]*write, 0, most)
	for {
		select {
		case w := <-db.queue:
			batch = append(batch[:0], w)
		case <-db.stop:
			return
		}
		batch = db.gather(batch)
		err := db.commit(db.writer, batch)
		for _, w := range batch {
			if err != nil && w.err == nil {
				w.err = describe(db.path, err)
			}
			close(w.done)
		}
		if err != nil && fatal(err) {
			db.fatal <- describe(db.path, err) // never retry an fsync: what it lost is lost
			return
		}
		db.announce()
	}
}

func (db *DB) gather(batch []*write) []*write {
	for len(batch) < most {
		select {
		case w := <-db.queue:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit runs the batch in one transaction. An error means that none of it is known to be stored.
func (db *DB) commit(conn *sqlite.Conn, batch []*write) (err error) {
	if err := run(conn, "BEGIN IMMEDIATE", nil, nil); err != nil {
		return err
	}
	for _, w := range batch {
		apply := saved
		if w.bare {
			apply = bare
		}
		var spoilt bool
		if spoilt, w.err = apply(conn, w); spoilt {
			return errors.Join(w.err, rollback(conn))
		}
	}
	if err := db.strike(batch, ".before"); err != nil {
		return errors.Join(err, rollback(conn))
	}
	if err := run(conn, "COMMIT", nil, nil); err != nil {
		return errors.Join(err, rollback(conn))
	}
	return db.strike(batch, ".after")
}

// saved runs one change under a savepoint: an error undoes it alone. The batch is spoilt when SQLite gave the transaction
// up itself: disk full, out of memory.
func saved(conn *sqlite.Conn, w *write) (spoilt bool, err error) {
	if err := run(conn, "SAVEPOINT change", nil, nil); err != nil {
		return true, err
	}
	if err = w.apply(conn); err != nil && !conn.AutocommitEnabled() {
		err = errors.Join(err, run(conn, "ROLLBACK TO change", nil, nil))
	}
	if !conn.AutocommitEnabled() {
		err = errors.Join(err, run(conn, "RELEASE change", nil, nil))
	}
	return conn.AutocommitEnabled(), err
}

// bare runs one change without a savepoint. The batch is spoilt when it failed after it had written.
func bare(conn *sqlite.Conn, w *write) (spoilt bool, err error) {
	before, err := changes(conn)
	if err != nil {
		return true, err
	}
	if err = w.apply(conn); err == nil {
		return false, nil
	}
	after, unknown := changes(conn)
	return unknown != nil || after != before || conn.AutocommitEnabled(), err
}

// changes counts the rows that were ever changed on the connection.
func changes(conn *sqlite.Conn) (n int64, err error) {
	_, err = queryRow(conn, "SELECT total_changes()", nil, func(s *sqlite.Stmt) { n = s.ColumnInt64(0) })
	return n, err
}

// rollback ends the transaction, unless SQLite has ended it.
func rollback(conn *sqlite.Conn) error {
	if conn.AutocommitEnabled() {
		return nil
	}
	return run(conn, "ROLLBACK", nil, nil)
}

func (db *DB) strike(batch []*write, side string) error {
	if db.options.Faults == nil {
		return nil
	}
	for _, w := range batch {
		if err := db.options.Faults.Hit(w.name + side); err != nil {
			return problem.New(problem.Unavailable, "storage-failed", "write to %s: %w", db.path, err)
		}
	}
	return nil
}

func (db *DB) announce() {
	db.mu.Lock()
	defer db.mu.Unlock()
	close(db.changed)
	db.changed = make(chan struct{})
}

// fatal tells failures of the disk itself from those of one transaction.
func fatal(err error) bool {
	return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultIOErr || sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCorrupt
}

// run executes one cached statement: bind fills its parameters, row sees each result; both may be nil.
func run(conn *sqlite.Conn, query string, bind func(*sqlite.Stmt), row func(*sqlite.Stmt) error) error {
	stmt, err := conn.Prepare(query)
	if err != nil {
		return fmt.Errorf("prepare %q: %w", query, err)
	}
	if bind != nil {
		bind(stmt)
	}
	for {
		more, err := stmt.Step()
		if err != nil {
			_ = stmt.Reset()
			return err
		}
		if !more {
			break
		}
		if row == nil {
			continue
		}
		if err := row(stmt); err != nil {
			_ = stmt.Reset()
			return err
		}
	}
	return stmt.ClearBindings()
}

// blob reads a column into memory of its own; an empty one is nil, for so nil is stored.
func blob(stmt *sqlite.Stmt, column int) []byte {
	if stmt.ColumnLen(column) == 0 {
		return nil
	}
	b := make([]byte, stmt.ColumnLen(column))
	stmt.ColumnBytes(column, b)
	return b
}

// queryRow is run for a query with at most one row; it tells whether there was one.
func queryRow(conn *sqlite.Conn, query string, bind func(*sqlite.Stmt), row func(*sqlite.Stmt)) (found bool, err error) {
	err = run(conn, query, bind, func(stmt *sqlite.Stmt) error {
		found = true
		row(stmt)
		return nil
	})
	return found, err
}

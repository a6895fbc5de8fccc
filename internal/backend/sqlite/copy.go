package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/avalhq/aval/internal/problem"
)

// pages are copied at once, between two looks at the context.
const pages = 512

// Copy writes the system of record as it is at one moment to a file that is not there yet, also while a process runs on it: it
// reads one snapshot, and what is committed meanwhile is not in it. progress is told pages copied and pages in all.
func Copy(ctx context.Context, from, to string, progress func(done, all int64)) (err error) {
	if _, err := os.Stat(from); err != nil {
		return problem.New(problem.NotFound, "storage-missing", "there is no database %s: %w; check the data folder", from, err)
	}
	src, err := sqlite.OpenConn(from, sqlite.OpenReadWrite|sqlite.OpenWAL) // a reader of a WAL file writes to its index
	if err != nil {
		return describe(from, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if err := pragmas(src, "query_only = on"); err != nil {
		return describe(from, err)
	}
	dst, err := sqlite.OpenConn(to, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return describe(to, err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	return copyPages(ctx, src, dst, from, progress)
}

func copyPages(ctx context.Context, src, dst *sqlite.Conn, from string, progress func(done, all int64)) (err error) {
	defer sqlitex.Transaction(src)(&err) // holds the snapshot
	if err := sqlitex.ExecuteTransient(src, "SELECT count(*) FROM sqlite_schema", nil); err != nil {
		return describe(from, err)
	}
	b, err := sqlite.NewBackup(dst, "main", src, "main")
	if err != nil {
		return describe(from, err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if more, err = b.Step(pages); err != nil {
			return fmt.Errorf("copy the database: %w", describe(from, err))
		}
		progress(int64(b.PageCount()-b.Remaining()), int64(b.PageCount()))
	}
	return nil
}

// Level is how many migrations this program's system of record has.
func Level() (int64, error) {
	schema, err := migrations("schema/record")
	return int64(len(schema.Migrations)), err
}

// Hold keeps every process from opening the database at path until it is closed; storage-in-use when one has it open.
func Hold(path string) (io.Closer, error) { return lockFile(path + ".lock") }

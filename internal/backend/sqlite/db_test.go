package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// A file that was closed is whole by itself, also when reads were under way: nothing of it is left in its write-ahead log.
func TestCloseLeavesOneFile(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "aval.db")
		db, closing := openRecord(t, path, nil)
		if err := NewGuarantee(db).Put(t.Context(), "note.v1@1", []byte("x")); err != nil {
			t.Fatal(err)
		}
		var reads sync.WaitGroup
		for range connections {
			reads.Go(func() {
				read := func(conn *sqlite.Conn) error { return sqlitex.ExecuteTransient(conn, "SELECT * FROM definitions", nil) }
				for db.view(t.Context(), read) == nil { // until it is closed
				}
			})
		}
		closing()
		reads.Wait()
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("the write-ahead log is left: ", err)
		}
	}
}

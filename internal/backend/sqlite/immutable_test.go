package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
)

// The application's own connection is refused what would change the record.
func TestI3TheRecordCannotBeChanged(t *testing.T) {
	db, _ := openRecord(t, filepath.Join(t.TempDir(), "aval.db"), nil)
	g := NewGuarantee(db)
	if err := g.Put(t.Context(), "note.v1@1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	live := guaranteetest.Accept(t, g, "cli_a", "live")
	archived := guaranteetest.Accept(t, g, "cli_a", "archived")
	end := guaranteetest.Step(archived, "Done", guarantee.Succeeded)
	end.Archive = true
	if refused, err := g.Commit(t.Context(), []guarantee.Transition{end}); err != nil || refused[0] != nil {
		t.Fatal(err, refused)
	}
	for _, forbidden := range []string{
		"UPDATE originals SET original = x'00'", "DELETE FROM originals", "UPDATE archive SET original = x'00'", "DELETE FROM archive",
		"UPDATE history SET entries = x'00'", "UPDATE definitions SET source = x'00'",
	} {
		err := db.update(t.Context(), "test", func(conn *sqlite.Conn) error { return run(conn, forbidden, nil, nil) })
		if err == nil || !strings.Contains(err.Error(), "change") && !strings.Contains(err.Error(), "archive") {
			t.Errorf("%s: %v", forbidden, err)
		}
	}
	for _, rec := range []guarantee.Record{live, archived} {
		got, history, err := g.Get(t.Context(), rec.ID)
		if err != nil || string(got.Original) != string(rec.Original) || len(history) == 0 {
			t.Errorf("afterwards: %v, %d entries, %v", got.Verified, len(history), err)
		}
	}
}

func TestTheFileIsDurableAndSingle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aval.db")
	db, _ := openRecord(t, path, nil)
	var sync, journal, version string
	err := db.update(t.Context(), "test", func(conn *sqlite.Conn) error {
		for query, into := range map[string]*string{"PRAGMA synchronous": &sync, "PRAGMA journal_mode": &journal, "SELECT sqlite_version()": &version} {
			if _, err := queryRow(conn, query, nil, func(s *sqlite.Stmt) { *into = s.ColumnText(0) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || sync != "2" || journal != "wal" || version < "3.51.3" {
		t.Errorf("synchronous %s, journal %s, SQLite %s, %v; want 2 (FULL), wal, 3.51.3 or newer", sync, journal, version, err)
	}
	if second, err := Open(t.Context(), path, Options{}); err == nil {
		_ = second.Close()
		t.Error("two processes could open one data folder")
	}
}

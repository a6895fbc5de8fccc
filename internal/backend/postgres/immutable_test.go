//go:build cluster

package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
)

// session is a connection around Aval's code, as the user of the URL.
func session(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	if _, err := conn.Exec(t.Context(), "SET search_path = aval"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func refusedWith(t *testing.T, conn *pgx.Conn, state string, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := conn.Exec(t.Context(), statement)
		var answered *pgconn.PgError
		if !errors.As(err, &answered) || answered.Code != state {
			t.Errorf("%s: %v; want SQLSTATE %s", statement, err, state)
		}
	}
}

// TestI3TheApplicationsUserCannotChangeTheRecord tries, as the application's own user, to change and to delete what only
// grows, in the tables and in their partitions, and to give itself the right to.
func TestI3TheApplicationsUserCannotChangeTheRecord(t *testing.T) {
	s := newStorage(t)
	g := postgres.NewGuarantee(s.open(t))
	live := guaranteetest.Accept(t, g, "cli_a", "live")
	archived := guaranteetest.Accept(t, g, "cli_a", "archived")
	end := guaranteetest.Step(archived, "Done", guarantee.Succeeded)
	end.Archive = true
	if refused, err := g.Commit(t.Context(), []guarantee.Transition{end}); err != nil || refused[0] != nil {
		t.Fatal(err, refused)
	}
	conn := session(t, s.URL)
	month := time.Now().UTC().Format("_2006_01")
	for table, column := range map[string]string{
		"originals": "original", "history": "entries", "archive": "reason", "decisions": "tx", "signatures": "raw", "definitions": "source", "aliases": "routes",
		"originals" + month: "original", "history" + month: "entries", "archive" + month: "reason", "originals_other": "original",
		"signing_requests": "tx", "signing_requests" + month: "until", "signing_requests_other": "key", "signing_refusals": "code",
		"wallets": "address", "sealed": "content", "installation": "contract", "compatibility": "level", "goose_db_version": "is_applied",
	} {
		// Without the right to grant this only warns; what follows shows that it gave nothing.
		if _, err := conn.Exec(t.Context(), "GRANT ALL ON "+table+" TO PUBLIC"); err != nil {
			t.Fatal(err)
		}
		refusedWith(t, conn, "42501", "UPDATE "+table+" SET "+column+" = "+column, "DELETE FROM "+table, "TRUNCATE "+table, "DROP TABLE "+table,
			"ALTER TABLE "+table+" DISABLE TRIGGER ALL")
	}
	refusedWith(t, conn, "42501", "UPDATE bus_records SET value = value", "DELETE FROM bus_offsets", "CREATE TABLE mine (a int)", "DROP SCHEMA aval CASCADE", "INSERT INTO compatibility (level) VALUES (9)", "ALTER TABLE messages ADD a int")
	for _, rec := range []guarantee.Record{live, archived} {
		got, history, err := g.Get(t.Context(), rec.ID)
		if err != nil || string(got.Original) != string(rec.Original) || len(history) == 0 {
			t.Errorf("afterwards: %v, %d entries, %v", got.Verified, len(history), err)
		}
	}
}

// TestA16DatabaseRefuses goes around Aval's code with the rights of an administrator: the tables themselves refuse a second
// intent for a nonce or a step, a second signature, and fences and nonces that go back.
func TestA16DatabaseRefuses(t *testing.T) {
	s := newStorage(t)
	keys := postgres.NewKeys(s.open(t))
	for _, id := range []string{"key_a", "key_b"} {
		if err := keys.Add(t.Context(), key.Key{ID: id, Chain: "c", Address: id}); err != nil {
			t.Fatal(err)
		}
	}
	conn := session(t, s.Admin)
	for _, allowed := range []string{
		"UPDATE keys SET fence = 4, nonce = 8",
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m1', 's', 1, 7, 4, '')",
		"INSERT INTO signatures (decision, hash, raw) SELECT seq, 'h', '1' FROM decisions",
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m2', 's', 1, 8, 4, ''), ('m1', 's2', 2, 7, 4, '')",
	} {
		if _, err := conn.Exec(t.Context(), allowed); err != nil {
			t.Fatalf("%s: %v", allowed, err)
		}
	}
	refusedWith(t, conn, "23505",
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m3', 's', 1, 7, 5, '')", // same nonce, second intent
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m1', 's', 1, 9, 5, '')", // same step, second nonce
		"INSERT INTO signatures (decision, hash, raw) SELECT seq, 'h2', '2' FROM decisions WHERE message = 'm1' AND state = 's'")
	refusedWith(t, conn, "P0001", "UPDATE keys SET nonce = 7 WHERE id = 'key_a'", "UPDATE keys SET fence = 3 WHERE id = 'key_a'", "UPDATE keys SET address = 'z' WHERE id = 'key_a'")
}

// TestNothingIsStoredUnsynced: the server itself writes to stable storage before it says so.
func TestNothingIsStoredUnsynced(t *testing.T) {
	conn := session(t, newStorage(t).URL)
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&value); err != nil || value != "on" {
			t.Errorf("%s is %s, %v; want on", setting, value, err)
		}
	}
}

// TestPartitionsFollowTheTime: a message lies in the partition of the month in which its id was issued.
func TestPartitionsFollowTheTime(t *testing.T) {
	s := newStorage(t)
	rec := guaranteetest.Accept(t, postgres.NewGuarantee(s.open(t)), "cli_a", "x")
	conn := session(t, s.URL)
	for _, table := range []string{"originals", "history"} {
		var partition string
		if err := conn.QueryRow(t.Context(), "SELECT tableoid::regclass::text FROM "+table+" WHERE id = $1", string(rec.ID)).Scan(&partition); err != nil {
			t.Fatal(err)
		}
		if want := table + time.Now().UTC().Format("_2006_01"); partition != want {
			t.Errorf("the message of now is in %s, want %s", partition, want)
		}
	}
	var plan []string
	rows, _ := conn.Query(t.Context(), "EXPLAIN SELECT * FROM originals WHERE id = '"+string(rec.ID)+"'")
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if text := strings.Join(plan, " "); err != nil || strings.Count(text, "originals_") > 2 { // one table, and its index
		t.Errorf("looking up one message touches more than its month: %s, %v", text, err)
	}
}

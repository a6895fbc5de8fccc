//go:build cluster

package postgres_test

import (
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
)

// TestNewTablesCanBeUsedAtOnce stops an upgrade between its migrations and its grants: programs that run on the database meanwhile may
// use what is new, as triggers of old tables do. When it is done no right is left that nobody granted.
func TestNewTablesCanBeUsedAtOnce(t *testing.T) {
	database, user := server.Empty(t)
	admin := server.Admin(t)
	ask := func(url, question string, args ...any) (number int) {
		t.Helper()
		if err := session(t, url).QueryRow(t.Context(), question, args...).Scan(&number); err != nil {
			t.Fatal(err)
		}
		return number
	}
	trial.Execute(t, admin, "CREATE DATABASE "+user.Name)
	holding := session(t, database.Admin)
	hold, err := holding.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Exec(t.Context(), "GRANT USAGE ON SCHEMA public TO PUBLIC"); err != nil { // what grants change last
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := postgres.Init(t.Context(), database.Admin, user)
		done <- err
	}()
	deadline := time.Now().Add(time.Minute)
	for ask(database.Admin, "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = $1)", user.Name) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the grants did not wait")
		}
		time.Sleep(10 * time.Millisecond)
	}
	const tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'aval'::regnamespace AND relkind IN ('r', 'p')"
	const closed = tables + " AND NOT (has_table_privilege($1, oid, 'SELECT') AND has_table_privilege($1, oid, 'INSERT'))"
	if n := ask(database.Admin, tables); n < 30 {
		t.Errorf("only %d tables are there", n)
	}
	if n := ask(database.Admin, closed, user.Name); n > 0 {
		t.Errorf("%d tables are there, and programs that run may not use them yet", n)
	}
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := ask(database.Admin, "SELECT count(*) FROM pg_default_acl"); n > 0 {
		t.Errorf("%d rights on tables to come are left", n)
	}
}

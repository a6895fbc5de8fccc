//go:build cluster

package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/problem"
)

// TestWhatTheServerRefusesPasses: when a process begins, a server that does not let it in, and a database that is not prepared, are a
// mistake of its configuration. Later they are nobody's mistake who asks for something, and pass: they have the
// code for which the shipped workflows repeat.
func TestWhatTheServerRefusesPasses(t *testing.T) {
	at, user := server.Empty(t)
	if _, err := postgres.Init(t.Context(), at.Admin, user); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), at.URL, postgres.Options{Name: "test", Pool: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.Crash(db) })
	for _, trouble := range []struct{ begin, end, code, says string }{
		{"ALTER ROLE " + user.Name + " PASSWORD 'another'", "ALTER ROLE " + user.Name + " PASSWORD '" + user.Password + "'", "database-refused", "the password; check database.url"},
		{"ALTER ROLE " + user.Name + " NOLOGIN", "ALTER ROLE " + user.Name + " LOGIN", "database-refused", "does not let this user in"},
		{"ALTER SCHEMA aval RENAME TO away", "ALTER SCHEMA away RENAME TO aval", "database-not-prepared", "aval database init"},
	} {
		trial.Execute(t, at.Admin, trouble.begin)
		trial.Execute(t, at.Admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+user.Name+"'")
		until(t, db, trouble.says)
		if _, err := postgres.Open(t.Context(), at.URL, postgres.Options{Name: "late"}); problem.KindOf(err) != problem.Invalid || problem.From(err).Code != trouble.code {
			t.Errorf("%s: a process that begins is told %v, want a mistake of its configuration, %s", trouble.begin, err, trouble.code)
		}
		trial.Execute(t, at.Admin, trouble.end)
		until(t, db, "")
	}
}

// until asks again until the answer says what is the trouble, "" for none. Each failure before passes, too, and has the one code that
// workflows know it by.
func until(t *testing.T, db *postgres.DB, says string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := postgres.NewKeys(db).List(t.Context())
		if err != nil && (problem.KindOf(err) != problem.Unavailable || problem.From(err).Code != "storage-failed") {
			t.Fatalf("told %v (%s), of kind %s", err, problem.From(err).Code, problem.KindOf(err))
		}
		if err == nil && says == "" || err != nil && says != "" && strings.Contains(err.Error(), says) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("told %v in the end, want %q", err, says)
		}
	}
}

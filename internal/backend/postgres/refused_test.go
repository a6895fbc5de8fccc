//go:build cluster

package postgres_test

import (
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/problem"
)

// TestWhatTheServerRefusesPasses: when a process begins, a server that does not let it in, and a database that is not prepared, are a
// mistake of its configuration. Later they are nobody's mistake who asks for something, and pass.
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
	for _, trouble := range []struct{ begin, end, code string }{
		{"ALTER ROLE " + user.Name + " PASSWORD 'another'", "ALTER ROLE " + user.Name + " PASSWORD '" + user.Password + "'", "database-refused"},
		{"ALTER ROLE " + user.Name + " NOLOGIN", "ALTER ROLE " + user.Name + " LOGIN", "database-refused"},
		{"ALTER SCHEMA aval RENAME TO away", "ALTER SCHEMA away RENAME TO aval", "database-not-prepared"},
	} {
		trial.Execute(t, at.Admin, trouble.begin)
		trial.Execute(t, at.Admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+user.Name+"'")
		until(t, db, trouble.code)
		if _, err := postgres.Open(t.Context(), at.URL, postgres.Options{Name: "late"}); problem.KindOf(err) != problem.Invalid || problem.From(err).Code != trouble.code {
			t.Errorf("%s: a process that begins is told %v, want a mistake of its configuration, %s", trouble.begin, err, trouble.code)
		}
		trial.Execute(t, at.Admin, trouble.end)
		until(t, db, "")
	}
}

// until asks again until the answer has the code, "" for none. Each failure before is one that passes, too.
func until(t *testing.T, db *postgres.DB, code string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := postgres.NewKeys(db).List(t.Context())
		if err != nil && problem.KindOf(err) != problem.Unavailable {
			t.Fatalf("told %v, of kind %s", err, problem.KindOf(err))
		}
		if err == nil && code == "" || err != nil && problem.From(err).Code == code {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("told %v in the end, want %q", err, code)
		}
	}
}

//go:build cluster

// Package trial gives each test a database of its own on the real server that `make services-up` has started.
//
// The schema is made once for each test program, in a template, and copied. A missing server fails the test: nothing is skipped.
package trial

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/test/e2e/stage"
)

// Variable names the environment variable with an administrator's URL, for a server that make services-up did not start. The
// test reads it.
const Variable = "AVAL_TEST_POSTGRES"

// Database is one of a test's own.
type Database struct {
	Admin string // URL of the administrator
	URL   string // URL of the application's user
}

// Section is what a configuration says of the database: the URL without the password, and a file of the test's own that holds it.
func (d Database) Section(t testing.TB) (address *url.URL, section map[string]any) {
	t.Helper()
	address, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := address.User.Password()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	address.User = url.User(address.User.Username())
	return address, map[string]any{"url": address.String(), "password": "file:" + file}
}

// Server makes databases from one template.
type Server struct {
	Given    string // an administrator's URL; otherwise the one that make services-up has left in .services
	once     sync.Once
	admin    string
	user     postgres.User
	template string
	err      error
}

// Admin is the URL of the server's administrator.
func (s *Server) Admin(t testing.TB) string {
	t.Helper()
	return stage.Shared(t, "postgres", s.Given, Variable)
}

// Fresh makes a prepared database, which is dropped when the test has ended.
func (s *Server) Fresh(t testing.TB) Database {
	t.Helper()
	admin := s.Admin(t)
	s.once.Do(func() { s.admin = admin; s.prepare(t.Context(), admin) })
	if s.err != nil {
		t.Fatalf("prepare a database on %s: %v", Variable, s.err)
	}
	name := "aval_test_" + strings.ToLower(rand.Text()[:12])
	Execute(t, admin, "CREATE DATABASE "+name+" TEMPLATE "+s.template)
	t.Cleanup(func() { Execute(t, admin, "DROP DATABASE "+name+" WITH (FORCE)") })
	return Database{Admin: at(admin, name, nil), URL: at(admin, name, &s.user)}
}

// Empty is a database that is not made yet, with a user that is not either; both are dropped in the end.
func (s *Server) Empty(t testing.TB) (Database, postgres.User) {
	t.Helper()
	admin := s.Admin(t)
	name := "aval_test_" + strings.ToLower(rand.Text()[:12])
	user := postgres.User{Name: name, Password: rand.Text()}
	t.Cleanup(func() {
		Execute(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		Execute(t, admin, "DROP ROLE IF EXISTS "+name)
	})
	return Database{Admin: at(admin, name, nil), URL: at(admin, name, &user)}, user
}

func (s *Server) prepare(ctx context.Context, admin string) {
	id := strings.ToLower(rand.Text()[:12])
	s.template, s.user = "aval_template_"+id, postgres.User{Name: "aval_" + id, Password: rand.Text()}
	_, s.err = postgres.Init(ctx, at(admin, s.template, nil), s.user)
}

// Main runs a package's tests and closes the server after the last.
func (s *Server) Main(m *testing.M) {
	code := m.Run()
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "drop the template:", err)
		code = 1
	}
	os.Exit(code)
}

// Close drops the template and the user, after the last test.
func (s *Server) Close() error {
	if s.template == "" {
		return nil
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + s.template + " WITH (FORCE)", "DROP ROLE IF EXISTS " + s.user.Name} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func at(admin, database string, user *postgres.User) string {
	u, err := url.Parse(admin)
	if err != nil {
		return admin
	}
	u.Path = "/" + database
	if user != nil {
		u.User = url.UserPassword(user.Name, user.Password)
	}
	return u.String()
}

// Execute runs a statement as the administrator of the URL.
func Execute(t testing.TB, admin, statement string) {
	t.Helper()
	ctx := context.Background() // the test's own has ended when it cleans up
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		t.Fatalf("connect to the server: %v; run make services-up", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Late counts the decisions, and those of them that were made under a lower fence than one for the same key with a lower nonce (I8).
func (d Database) Late(t testing.TB) (all, late int) {
	t.Helper()
	d.ask(t, []any{&all, &late}, `SELECT count(*), count(*) FILTER (WHERE fence < before) FROM (
		SELECT fence, max(fence) OVER (PARTITION BY key ORDER BY nonce ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM aval.decisions) d`)
	return all, late
}

// Shares tells how the partitions of a group on the bus are held: among how many processes, how many more one member has than another,
// and how many nobody has.
func (d Database) Shares(t testing.TB, group string) (processes, apart, free int) {
	t.Helper()
	d.ask(t, []any{&processes, &apart, &free}, `SELECT count(DISTINCT instance), coalesce(max(n) - min(n), 0), (SELECT count(*) FROM aval.bus_offsets WHERE name = $1 AND member = 0)
		FROM (SELECT instance, (SELECT count(*) FROM aval.bus_offsets WHERE member = m.id) AS n FROM aval.bus_members m WHERE name = $1) members`, group)
	return processes, apart, free
}

// ask reads one row as the administrator.
func (d Database) ask(t testing.TB, into []any, query string, args ...any) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, d.Admin)
	if err != nil {
		t.Fatalf("connect to the server: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, query, args...).Scan(into...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// Cut ends all sessions in the database, as when the programs that have them are killed.
func (d Database) Cut(t testing.TB) {
	t.Helper()
	Execute(t, d.Admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
}

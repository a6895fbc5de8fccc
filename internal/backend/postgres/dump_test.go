//go:build cluster

package postgres_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/problem"
)

// kept are the tables that a backup holds. A migration that adds a table has to say, here or in the package, which kind it is.
var kept = []string{
	"aliases", "archive", "attempt_signatures", "attempts", "calls", "clients", "decisions", "definitions", "due", "fates", "history", "installation",
	"issued", "key_entries", "key_registry", "keys", "messages", "migrations", "originals", "parked_records", "parts", "sealed", "secrets", "signatures",
	"signers", "signing_open", "signing_refusals", "signing_requests", "task_calls", "transaction_events", "verdicts", "wallets",
}

// digests are what is in each kept table, by name; those that a restore settles are compared without what it changes.
func digests(t *testing.T, url string) map[string]string {
	t.Helper()
	conn := session(t, url)
	found := map[string]string{}
	for _, name := range kept {
		var digest string
		row := "t::text"
		if name == "due" {
			row = "t.id || t.at"
		}
		if err := conn.QueryRow(t.Context(), "SELECT count(*) || ' ' || coalesce(md5(string_agg("+row+", ';' ORDER BY "+row+")), '') FROM "+name+" t").Scan(&digest); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found[name] = digest
	}
	return found
}

type memory struct {
	names []string
	parts map[string]*bytes.Buffer
}

type closing struct{ *bytes.Buffer }

func (closing) Close() error { return nil }

func (m *memory) part(name string) io.WriteCloser {
	m.names, m.parts[name] = append(m.names, name), &bytes.Buffer{}
	return closing{m.parts[name]}
}

func (m *memory) next() postgres.Parts {
	left := slices.Clone(m.names)
	return func() (string, io.Reader, error) {
		if len(left) == 0 {
			return "", nil, io.EOF
		}
		name := left[0]
		left = left[1:]
		return name, bytes.NewReader(m.parts[name].Bytes()), nil
	}
}

func save(t *testing.T, s *storage) (m *memory, level int64) {
	t.Helper()
	m = &memory{parts: map[string]*bytes.Buffer{}}
	snapshot, err := postgres.OpenSnapshot(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	guaranteetest.Accept(t, postgres.NewGuarantee(another(t, s)), "cli_a", "accepted after the snapshot began")
	if err := snapshot.Write(t.Context(), m.part, func(string, int, int) {}); err != nil {
		t.Fatal(err)
	}
	return m, snapshot.Level
}

// stock fills a database with something of each kind: live, archived, keys, what is sealed.
func stock(t *testing.T, s *storage) {
	t.Helper()
	db := s.open(t)
	g, keys := postgres.NewGuarantee(db), postgres.NewKeys(db)
	if _, err := db.Join(t.Context(), postgres.Installation{Contract: bytes.Repeat([]byte{7}, 20), ChainID: 1, Genesis: "g", Keystore: "k"}); err != nil {
		t.Fatal(err)
	}
	guaranteetest.Accept(t, g, "cli_a", "tab\tline\nbackslash \\ and umlaut ü")
	end := guaranteetest.Step(guaranteetest.Accept(t, g, "cli_a", "archived"), "Done", guarantee.Succeeded)
	end.Archive = true
	if refused, err := g.Commit(t.Context(), []guarantee.Transition{end}); err != nil || refused[0] != nil {
		t.Fatal(err, refused)
	}
	if err := keys.Add(t.Context(), key.Key{ID: "key_a", Chain: "c", Address: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Lease(t.Context(), key.Request{Holder: db.Process() + "/sign", Key: "key_a", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := postgres.NewSealed(db).Add(t.Context(), "store.json", []byte{0, 1, 255, '\\', '\n'}); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreBringsEverythingBack: the copy has what the database had when the snapshot began, row by row, and goes on from there.
func TestRestoreBringsEverythingBack(t *testing.T) {
	s := newStorage(t)
	stock(t, s)
	want := digests(t, s.URL)
	m, level := save(t, s)
	target, user := server.Empty(t)
	if err := postgres.Load(t.Context(), target.Admin, level, false, m.next()); err != nil {
		t.Fatal(err)
	}
	got := digests(t, target.Admin)
	for _, name := range kept {
		if got[name] != want[name] {
			t.Errorf("%s holds %s, and held %s", name, got[name], want[name])
		}
	}
	if _, err := postgres.Open(t.Context(), target.URL, postgres.Options{Name: "early"}); err == nil {
		t.Error("a program started before the keys were set aside")
	}
	admin, err := postgres.Open(t.Context(), target.Admin, postgres.Options{Name: "restore", Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := postgres.NewKeys(admin).SetAsideRestored(t.Context(), "restored"); n != 1 || err != nil {
		t.Errorf("%d keys set aside, %v", n, err)
	}
	if err := errors.Join(admin.Close(), postgres.Grant(t.Context(), target.Admin, user)); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), target.URL, postgres.Options{Name: "next", Pool: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.Crash(db) })
	if k, err := postgres.NewKeys(db).Get(t.Context(), "key_a"); err != nil || k.Status != key.Quarantined || k.Holder != key.Restored {
		t.Errorf("the key is %+v, %v", k, err)
	}
	if _, err := postgres.NewKeys(db).Lease(t.Context(), key.Request{Holder: "next/sign", Key: "key_a", TTL: time.Second}); !errors.Is(err, key.ErrQuarantined) {
		t.Errorf("I10: leased: %v", err)
	}
	g := postgres.NewGuarantee(db)
	guaranteetest.Accept(t, g, "cli_a", "accepted afterwards")
	refusedWith(t, session(t, target.URL), "42501", "UPDATE originals SET original = original", "DELETE FROM sealed")
	if position, err := postgres.NewReference(db).Position(t.Context()); err != nil || position != 0 {
		t.Errorf("Reference begins at %d, %v", position, err)
	}
	if first, _, err := postgres.NewOutbox(db).Bounds(t.Context()); err != nil || first <= 1 {
		t.Errorf("the outbox says that it has everything from %d on, %v: Reference would not be rebuilt", first, err)
	}
}

// TestRestoreRefusesData: nothing is overwritten without the word for it, nor under a program that runs.
func TestRestoreRefusesData(t *testing.T) {
	s := newStorage(t)
	stock(t, s)
	m, level := save(t, s)
	if err := postgres.Load(t.Context(), s.Admin, level, false, m.next()); problem.From(err).Code != "restore-not-empty" {
		t.Errorf("restored over data: %v", err)
	}
	if err := postgres.Load(t.Context(), s.Admin, level, true, m.next()); problem.From(err).Code != "restore-in-use" {
		t.Errorf("restored under a program: %v", err)
	}
}

// TestABackupLeavesNoTableOut: each table of the schema is either in a backup, or known to be made anew.
func TestABackupLeavesNoTableOut(t *testing.T) {
	s := newStorage(t)
	stock(t, s)
	m, _ := save(t, s)
	in := map[string]bool{}
	for _, name := range m.names {
		in[name] = true
	}
	for _, name := range kept {
		if !in["tables/"+name] {
			t.Errorf("%s is not in the backup", name)
		}
		delete(in, "tables/"+name)
	}
	delete(in, "sequences.json")
	for _, name := range slices.Sorted(maps.Keys(in)) {
		t.Errorf("%s is in the backup, and nobody has said whether it should be: see anew in dump.go", name)
	}
}

package sqlite_test

import (
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	backend "github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/signer/signertest"
)

func TestDecisions(t *testing.T) {
	signertest.Run(t, func(t testing.TB) signertest.Harness {
		r := newRecord(t)
		return signertest.Harness{Faults: r.faults, Open: func(t testing.TB) (key.Registry, signer.Decisions) {
			db := r.open(t)
			return backend.NewKeys(db), backend.NewDecisions(db)
		}}
	})
}

// TestA16DatabaseRefuses goes around Aval's code: the database itself refuses a second intent for a nonce or a step, and
// any change of what was decided, signed, or counted.
func TestA16DatabaseRefuses(t *testing.T) {
	r := newRecord(t)
	r.open(t)
	conn, err := sqlite.OpenConn(r.path, sqlite.OpenReadWrite|sqlite.OpenWAL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	run := func(statement string) error { return sqlitex.ExecuteScript(conn, statement+";", nil) }
	for _, allowed := range []string{
		"INSERT INTO keys (seq, id, chain, address, pool, fence, nonce) VALUES (1, 'key_a', 'c', 'a', '', 4, 8), (2, 'key_b', 'c', 'b', '', 0, 0)",
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m1', 's', 1, 7, 4, x'00')",
		"UPDATE decisions SET hash = x'01', raw = x'02' WHERE message = 'm1'",
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m2', 's', 1, 8, 4, x'00'), ('m1', 's2', 2, 7, 4, x'00')",
	} {
		if err := run(allowed); err != nil {
			t.Fatalf("%s: %v", allowed, err)
		}
	}
	for _, refused := range []string{
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m3', 's', 1, 7, 5, x'00')", // same nonce, second intent
		"INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES ('m1', 's', 1, 9, 5, x'00')", // same step, second nonce
		"UPDATE decisions SET raw = x'03' WHERE message = 'm1' AND state = 's'",                            // signed once
		"UPDATE decisions SET hash = NULL, raw = NULL WHERE message = 'm1' AND state = 's'",
		"UPDATE decisions SET hash = x'03' WHERE message = 'm2'",
		"UPDATE decisions SET nonce = 9, hash = x'01', raw = x'02' WHERE message = 'm2'",
		"UPDATE decisions SET tx = x'01', hash = x'01', raw = x'02' WHERE message = 'm2'",
		"UPDATE decisions SET state = 'z', hash = x'01', raw = x'02' WHERE message = 'm2'",
		"UPDATE decisions SET fence = 9, hash = x'01', raw = x'02' WHERE message = 'm2'",
		"UPDATE decisions SET key = 2, hash = x'01', raw = x'02' WHERE message = 'm2'",
		"DELETE FROM decisions",
		"DELETE FROM keys WHERE id = 'key_b'",
		"UPDATE keys SET nonce = 7 WHERE id = 'key_a'",
		"UPDATE keys SET fence = 3 WHERE id = 'key_a'",
		"UPDATE keys SET address = 'z' WHERE id = 'key_a'",
	} {
		if err := run(refused); err == nil {
			t.Errorf("the database accepted: %s", refused)
		}
	}
}

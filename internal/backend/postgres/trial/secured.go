//go:build cluster

package trial

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/test/e2e/stage"
)

// Secure has a server of the test's own speak TLS, and TLS alone, and gives its administrator's URL for that.
func Secure(tb testing.TB, admin string, p *stage.Papers) string {
	tb.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	content := map[string]string{"pg_hba.conf": "hostssl all all 127.0.0.1/32 scram-sha-256"}
	for _, name := range []string{"server.pem", "server.key"} {
		raw, err := os.ReadFile(p.Path(name))
		if err != nil {
			tb.Fatal(err)
		}
		content[name] = string(raw)
	}
	var statements []string
	for name, text := range content {
		// The server's user has to own the key: so the server writes it, into its data folder, which is where it runs.
		statements = append(statements, fmt.Sprintf(`COPY (SELECT '%s') TO PROGRAM $$umask 077; sed 's/\\n/\n/g' > %s$$`, text, name))
	}
	statements = append(statements, "ALTER SYSTEM SET ssl_cert_file = 'server.pem'", "ALTER SYSTEM SET ssl_key_file = 'server.key'", "ALTER SYSTEM SET ssl = on",
		"SELECT pg_reload_conf()")
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			tb.Fatal(err)
		}
	}
	return strings.Replace(admin, "sslmode=disable", "sslmode=verify-full&sslrootcert="+p.Path("ca.pem"), 1)
}

//go:build cluster

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	etcdtrial "github.com/avalhq/aval/internal/backend/etcd/trial"
	kafkatrial "github.com/avalhq/aval/internal/backend/kafka/trial"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/test/e2e/stage"
)

// TestSecuredScripts runs the whole-program tests in test/script/secured over servers of their own, which speak TLS alone and know their
// users: secured.yaml names all three. DBUSER, DBHOST and PGPAPERS are of PostgreSQL; NAMELESS is its address, by a name that its
// certificate does not have.
func TestSecuredScripts(t *testing.T) {
	papers := stage.NewPapers(t)
	database := &trial.Server{Given: trial.Secure(t, stage.NewServer(t, "postgres").URL(t), papers)}
	broker := kafkatrial.NewSecured(t, "aval", "maker", "nobody")
	broker.Allow(t, "maker", "aval.", "CREATE", "ALTER", "DESCRIBE_CONFIGS")
	broker.Allow(t, "aval", "aval.", "READ", "WRITE", "DESCRIBE_CONFIGS")
	registry := etcdtrial.NewSecured(t, 300)
	registry.Papers.Issue(t, "machine")
	registry.Know(t, "aval", "of etcd", "/aval/")
	testscript.Run(t, testscript.Params{
		Dir: "../../test/script/secured", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			d, user := database.Empty(t)
			u, err := passwordless(d.URL)
			if err != nil {
				return err
			}
			for name, value := range map[string]string{
				"AVAL_DATABASE_ADMIN": d.Admin, "DBUSER": user.Name, "DBHOST": u.Host, "PGPAPERS": papers.Folder,
				"NAMELESS": strings.Replace(u.Host, "127.0.0.1", "localhost", 1),
			} {
				e.Setenv(name, value)
			}
			for name, text := range map[string]string{
				"database.secret": user.Password, "kafka.secret": broker.Password, "etcd.secret": "of etcd",
				"secured.yaml": fmt.Sprintf(`data: data
database: {url: %q, password: "file:database.secret"}
custody: {key_file: data.kek}
chain: {dev: {port: 0}}
api: {listen: "127.0.0.1:0"}
auth: {dev_issuer: true}
kafka: {brokers: %q, partitions: 4, secure: true, tls: {ca: %q}, mechanism: scram-sha-512, user: aval, password: "file:kafka.secret"}
etcd: {endpoints: [%q], user: aval, password: "file:etcd.secret", tls: {ca: %q, cert: %q, key: %q}}
`, u, broker.URL(t), broker.Papers.Path("ca.pem"), registry.URL(t), registry.Papers.Path("ca.pem"), registry.Papers.Path("machine.pem"), registry.Papers.Path("machine.key")),
			} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "serve": startServe, "quit": quitDev},
	})
}

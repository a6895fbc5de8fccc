//go:build nodes && cluster

package chainfaults

import (
	"flag"
	"os"
	"testing"

	"github.com/avalhq/aval/internal/backend/postgres/trial"
)

var postgres = flag.Bool("postgres", false, "whether the program stores in PostgreSQL, in a database of its own on the server that make services-up has started")

// database is the section of the configuration that the program stores by.
func database(t *testing.T) map[string]any {
	t.Helper()
	if !*postgres {
		return nil
	}
	server := &trial.Server{Given: os.Getenv(trial.Variable)}
	t.Cleanup(func() { check(t, server.Close()) }) // registered first, so it runs after the database that was made from it is gone
	_, section := server.Fresh(t).Section(t)
	return section
}

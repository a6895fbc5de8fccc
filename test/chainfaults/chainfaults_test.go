//go:build nodes

package chainfaults

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/test/e2e/stage"
)

var (
	kills     = flag.Int("kills", 20, "how often the program is killed")
	transfers = flag.Int("transfers", 600, "how many transfers are submitted while it is killed")
	reorgs    = flag.Int("reorgs", 12, "how often the chain is reorganised, 1 to 12 blocks deep")
	drops     = flag.Int("drops", 5, "how often the node's pool is emptied")
	seed      = flag.Uint64("seed", 0, "what chance begins with; 0 takes the time")
)

// program is the path of aval, built once.
var program string

func TestMain(m *testing.M) { stage.Main(m, &program) }

type starter func(context.Context, nodes.Options) (*nodes.Node, error)

// start begins a node that ends with the test.
func start(t *testing.T, how starter, options nodes.Options) *nodes.Node {
	t.Helper()
	n, err := how(t.Context(), options)
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	return n
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long anything may take that has to happen.
const patience = time.Minute

// eventually waits for what a node, or Aval, comes to by itself; told says how far it is when the time is up.
func eventually(t *testing.T, what string, done func() bool, told func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !done(); <-tick.C {
		if time.Now().After(deadline) {
			tick.Stop()
			t.Fatalf("waited %s in vain for %s: %s", patience, what, told())
		}
	}
}

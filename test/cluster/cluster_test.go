//go:build cluster

package cluster

import (
	"flag"
	"testing"
	"time"

	"github.com/avalhq/aval/test/e2e/stage"
)

var (
	longest = flag.Duration("longest", time.Second, "how long the longest cuts of a network last: 1s, 10s or 60s; shorter ones are tried as well")
	every   = flag.Bool("every", false, "try every trouble and every cut, not a short selection")
	only    = flag.String("only", "", "the troubles of TestFaults whose name matches this expression alone")
	rounds  = flag.Int("rounds", 1, "how often each cut is tried")
	seed    = flag.Uint64("seed", 0, "which processes are killed by chance in TestFaults; 0 takes another each time")
)

// program is the path of aval, built once.
var program string

func TestMain(m *testing.M) { stage.Main(m, &program) }

// patience is how long anything may take that has to happen (I18).
const patience = time.Minute

// Package crash kills Aval under load, at every named point and at random, and asks the outside what came of it.
//
// The process is the built program, serving from a folder; messages reach it through the Go SDK. The chain is not part of it:
// it runs in the test, behind a wire that keeps every transaction that was ever broadcast, and outlives all crashes, but for
// being restarted, cut off and made to lose answers itself. When the faults are over, everything has to end, and three
// witnesses have to agree: what the clients wrote down when they were answered, the chain's blocks, and what went over the
// wire. Aval's own tables are looked at last, and only to see that they say the same (see witness_test.go for what is checked).
//
// The flags -kills=N and -seed=N make a longer or an other run; docs/reliability.md has the results.
package crash

import (
	"flag"
	"testing"
	"time"

	"github.com/avalhq/aval/test/e2e/stage"
)

var (
	kills = flag.Int("kills", 80, "how often the process is killed")
	seed  = flag.Uint64("seed", 0, "what chance begins with; 0 takes the time")
)

// program is the path of aval, built once.
var program string

func TestMain(m *testing.M) { stage.Main(m, &program) }

// TestKilledAnywhere is the run: at least one kill at every named point, then more of them, troubles of the chain, and kills
// at any moment. Nothing may be lost or doubled (I1 to I7, I12, I13, I15, I18, I19).
func TestKilledAnywhere(t *testing.T) {
	began := time.Now()
	r := newRun(t, inFiles)
	plan := r.plan(*kills)
	for i, s := range plan {
		r.cycle(i+1, s)
	}
	r.settle()
	if *kills >= 80 { // every named point, and a tenth each of chain troubles and of any moments
		r.checkComplete()
	}
	r.report(time.Since(began))
}

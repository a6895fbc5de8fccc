// Package conform runs the cases of conformance suites on a backend, and sees to it that each of them ran.
//
// A suite lists its cases by tier, and says of a tier that it has no case of why the port has nothing of it. A run is good when
// every case has come to its end on that backend: one that was skipped, by the case or by how the backend is opened, fails the
// run and is named. Who chooses single cases by hand (go test -run 'Test…/case') is not held to the others.
//
// It judges no backend: that is the cases' own business.
package conform

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Tier is what a case is about.
type Tier string

// The tiers of every suite.
const (
	Basic        Tier = "basic"        // one caller, and nothing fails
	Transactions Tier = "transactions" // what changes together or not at all, and under which condition
	Concurrency  Tier = "concurrency"  // several callers or processes
	Faults       Tier = "faults"       // a write that failed, one that is stored and reported as failed, a process that died
)

func tiers() []Tier { return []Tier{Basic, Transactions, Concurrency, Faults} }

// Suite is the cases of a port, for what a backend is opened as.
type Suite[S any] struct {
	Cases    map[string]func(*testing.T, S) // by tier and name: "basic/…"
	Lacks    map[Tier]string                // tiers without a case, and why the port has nothing of them
	Parallel bool                           // the cases run beside each other
}

// Run runs every case on an instance of its own.
func (s Suite[S]) Run(t *testing.T, open func(t *testing.T) S) {
	t.Helper()
	for _, wrong := range s.wrong() {
		t.Errorf("the suite: %s", wrong)
	}
	ran := &ledger{}
	t.Cleanup(func() { // after the cases that run beside each other
		for _, name := range ran.without(slices.Sorted(maps.Keys(s.Cases))) {
			t.Errorf("the case %s did not run to its end on this backend: none may be left out", name)
		}
	})
	for name, check := range s.Cases {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if !t.Skipped() {
					ran.put(name)
				}
			}()
			if s.Parallel {
				t.Parallel()
			}
			check(t, open(t))
		})
	}
}

// wrong says what is wrong with the list of cases.
func (s Suite[S]) wrong() (all []string) {
	count := map[Tier]int{}
	for name := range s.Cases {
		tier, _, _ := strings.Cut(name, "/")
		if !slices.Contains(tiers(), Tier(tier)) {
			all = append(all, fmt.Sprintf("the case %s is of no tier", name))
		}
		count[Tier(tier)]++
	}
	for _, tier := range tiers() {
		if why := s.Lacks[tier]; (why == "") == (count[tier] == 0) {
			all = append(all, fmt.Sprintf("the tier %s has %d cases, and that it has none is explained by %q", tier, count[tier], why))
		}
	}
	return all
}

// ledger is which cases have run.
type ledger struct {
	mu  sync.Mutex
	ran []string
}

func (l *ledger) put(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ran = append(l.ran, name)
}

// without gives those of the cases that did not run, unless some were chosen by hand.
func (l *ledger) without(all []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if chosen() {
		return nil
	}
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(l.ran, name) })
}

// chosen says whether cases were chosen on the command line.
func chosen() bool {
	run, skip := flag.Lookup("test.run"), flag.Lookup("test.skip")
	return run != nil && strings.Contains(run.Value.String(), "/") || skip != nil && skip.Value.String() != ""
}

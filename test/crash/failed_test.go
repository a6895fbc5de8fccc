package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/test/e2e/stage"
)

// What is passed while a process starts, before it serves, and what a short life does not pass.
var (
	atStart = []string{"guarantee.define", "keys.quarantine"}
	rare    = []string{"outbox.trim", "keystore.secret"}
)

// TestFailedWrites lets each write and each send fail, in one life before it is carried out, in the next after it was, which
// is then reported as failed and has persisted. Under load, as in production: nothing may be lost or doubled by it, and what
// cannot go on by itself is parked with the reason.
func TestFailedWrites(t *testing.T) {
	r := newRun(t, inFiles)
	for number, side := range []string{".before", ".after"} {
		r.begin(number+1, strike{name: "failed", side: side})
		r.failStarts(side)
		r.fail(side)
	}
	r.settle()
	if r.seen.mined < 20 || r.seen.resumed == 0 {
		t.Errorf("only %d transfers took place, and %d messages were parked", r.seen.mined, r.seen.resumed)
	}
}

// failStarts lets writes fail that a start needs: it ends, and says why in a sentence.
func (r *run) failStarts(side string) {
	for _, name := range atStart {
		p, err := r.in.Start(name + side + "=fail@1")
		if err != nil {
			r.t.Fatal(err)
		}
		<-p.Done
		if told := stage.Told(p.Stderr()); told.Code != "storage-failed" || p.ExitCode() != 5 || strings.Contains(p.Stderr(), "goroutine") {
			r.t.Errorf("%s%s failed, and aval ended with code %d and wrote: %s", name, side, p.ExitCode(), p.Stderr())
		}
	}
}

// fail is a life in which every other point fails once.
func (r *run) fail(side string) {
	var rules, names []string
	for _, p := range points {
		if !slices.Contains(atStart, p.name) && !slices.Contains(rare, p.name) {
			names = append(names, p.name+side)
			rules = append(rules, fmt.Sprintf("%s%s=fail@%d", p.name, side, 1+r.chance.Below(min(p.hits, 4))))
		}
	}
	r.spoilReference()
	p := r.start(strings.Join(rules, ","))
	for _, point := range points {
		if point.chore != nil {
			r.persist(point)
		}
	}
	r.awaitLoad(len(r.load.sent()) + 200)
	if err := p.Stop(); err != nil {
		r.t.Error(err)
	}
	r.down()
	passed, err := p.Passed()
	if err != nil {
		r.t.Error(err)
	}
	for _, name := range names {
		if !passed[name] {
			r.t.Errorf("the point %s was not passed", name)
		}
	}
}

// persist repeats a chore until it is done, as a client does who is told to try again.
func (r *run) persist(p point) {
	for range 10 {
		err := p.chore(r)
		if err == nil {
			return
		}
		if !stage.Gone(err) {
			r.t.Errorf("%s: %v", p.name, err)
			return
		}
	}
	r.t.Errorf("%s still fails after ten attempts", p.name)
}

// awaitLoad waits until so many messages were submitted.
func (r *run) awaitLoad(count int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); len(r.load.sent()) < count; <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("only %d of %d messages were submitted in %v", len(r.load.sent()), count, patience)
		}
	}
}

//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/test/e2e/stage"
)

// trouble is something that happens to a role or to a server under load.
type trouble struct {
	name   string
	short  bool // part of make test-cluster
	strike func(*fleet)
}

// TestFaults lets each trouble happen to a fleet under load, one after the other. After each one everything ends within a minute. In the
// end the chain, the clients' notes and Aval's own witnesses agree: nothing lost, nothing done twice, nothing signed besides, no gap.
func TestFaults(t *testing.T) {
	chosen := regexp.MustCompile(*only)
	f := launch(t)
	f.looks(t)
	for _, x := range troubles() {
		if chosen.MatchString(x.name) && (x.short || *every || *only != "") {
			f.try(x.name, x.strike)
		}
	}
	f.check()
	f.witness()
	f.counted()
	f.end()
}

// troubles is the table.
func troubles() []trouble {
	all := []trouble{
		{"topics deleted and made anew", true, (*fleet).deleteTopics},
		{"offsets of all groups set to 0", true, (*fleet).rewind},
	}
	for _, role := range slices.Compact(fleetRoles()) {
		all = append(all,
			trouble{role + " killed", role == "relay", func(f *fleet) { f.kill(role) }},
			trouble{role + " stopped for a while", false, func(f *fleet) { f.pauseRole(role, 5*time.Second) }},
			trouble{role + " told to end", false, func(f *fleet) { f.terminate(role) }})
	}
	for _, server := range []string{"postgres", "kafka", "etcd"} {
		all = append(all, trouble{server + " killed", false, func(f *fleet) { f.killServer(server) }})
		for _, long := range lengths() {
			for _, how := range cuts {
				if long > time.Second && how != stage.Silent && how != stage.WayBack {
					continue // the others differ in how they begin and end
				}
				short := server == "kafka" && how == stage.WayBack && long == time.Second
				all = append(all, trouble{fmt.Sprintf("%s cut off for %v (%s)", server, long, how), short, func(f *fleet) {
					f.sever(server, how, long)
				}})
			}
		}
	}
	return all
}

// kill kills one process with a role, and starts it again a second later.
func (f *fleet) kill(role string) {
	at := f.having(role)[0]
	f.live[at].Kill()
	time.Sleep(time.Second) // without it
	f.back(at)
}

// pauseRole stops one process with a role, which keeps its connections, and continues it.
func (f *fleet) pauseRole(role string, long time.Duration) {
	p := f.live[f.having(role)[0]]
	if err := p.Pause(); err != nil {
		f.t.Fatal(err)
	}
	time.Sleep(long) // without it
	if err := p.Continue(); err != nil {
		f.t.Fatal(err)
	}
}

// terminate has one process with a role end in order, and starts it again.
func (f *fleet) terminate(role string) {
	at, began := f.having(role)[0], time.Now()
	if err := f.live[at].Terminate(); err != nil {
		f.t.Errorf("%s did not end in order: %v", role, err)
	}
	f.t.Logf("%s had ended after %v", role, time.Since(began).Round(time.Millisecond))
	f.back(at)
}

// killServer kills a server and starts it again on its data when those who need it have said that they are not ready.
func (f *fleet) killServer(name string) {
	err := f.servers[name].Act("kill")
	f.readiness(name, http.StatusServiceUnavailable)
	if err == nil {
		err = f.servers[name].Act("start")
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.readiness(name, http.StatusOK)
}

// sever cuts a server off from everybody.
func (f *fleet) sever(name string, how stage.Cut, long time.Duration) {
	mend, err := f.ways[name].Cut(how)
	if err == nil {
		time.Sleep(long) // the cut
		err = mend()
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// deleteTopics deletes everything that the broker keeps for Aval, and has the topics made again.
func (f *fleet) deleteTopics() {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	err := f.records.DeleteTopics(ctx)
	if err == nil {
		time.Sleep(time.Second) // without them
		_, err = f.all[0].Run(ctx, "cluster", "init")
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// rewind stops everybody who reads, sets the offsets of all groups to 0, and starts them again: every record comes once more.
func (f *fleet) rewind() {
	readers := slices.Concat(f.having("controller"), f.having("signing-worker"), f.having("sender"), f.having("tx-verify"))
	for _, at := range readers {
		if err := f.live[at].Terminate(); err != nil {
			f.t.Errorf("%s did not end in order: %v", f.roles[at], err)
		}
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	moved, err := f.records.Rewind(ctx)
	if err != nil || moved == 0 {
		f.t.Fatalf("offsets of %d partitions were set to 0: %v", moved, err)
	}
	f.t.Logf("offsets of %d partitions were set to 0", moved)
	for _, at := range readers {
		f.back(at)
	}
}

// end has everybody end in order.
func (f *fleet) end() {
	for at, p := range f.live {
		if err := p.Terminate(); err != nil {
			f.t.Errorf("%s did not end in order: %v", f.roles[at], err)
		}
	}
}

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
	short  bool          // part of make test-cluster
	long   time.Duration // how long it lasts, when that is long: the load is thinner then
	strike func(*fleet)
}

// TestFaults lets each trouble happen to a fleet under load, one after the other. After each one everything ends within a minute. In the
// end the chain, the clients' notes and Aval's own witnesses agree: nothing lost, nothing done twice, nothing signed besides, no gap.
func TestFaults(t *testing.T) {
	chosen := regexp.MustCompile(*only)
	f := launch(t)
	f.looks(t)
	f.idle()
	for _, x := range troubles() {
		if chosen.MatchString(x.name) && (x.short || *every || *only != "") {
			f.try(x)
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
		{name: "topics deleted and made anew", short: true, strike: (*fleet).deleteTopics},
		{name: "offsets of all groups set to 0", short: true, strike: (*fleet).rewind},
		{name: "processes killed by chance", strike: (*fleet).killByChance},
	}
	for _, role := range slices.Compact(fleetRoles()) {
		all = append(all,
			trouble{name: role + " killed", short: role == "relay", strike: func(f *fleet) { f.kill(role) }},
			trouble{name: role + " killed at each of its points", strike: func(f *fleet) { f.killAt(role) }},
			trouble{name: role + " stopped for a while", strike: func(f *fleet) { f.pauseRole(role, 5*time.Second) }},
			trouble{name: role + " told to end", strike: func(f *fleet) { f.terminate(role) }})
	}
	for _, point := range []string{"decisions.decide.before", "signer.sign.before"} {
		all = append(all, trouble{name: "signing-worker stopped under its lease at " + point, strike: func(f *fleet) { f.oversleep(point) }})
	}
	for _, server := range []string{"postgres", "kafka", "etcd", "key-manager"} {
		if server != "key-manager" { // which is one of the roles
			all = append(all, trouble{name: server + " server killed", strike: func(f *fleet) { f.killServer(server) }})
		}
		all = append(all, severed(server)...)
	}
	return all
}

// severed are the cuts of a server from everybody. Of the long ones those two are tried that nobody is told of: the others differ
// in how they begin and end.
func severed(server string) (all []trouble) {
	for _, long := range lengths() {
		for _, how := range cuts {
			if long > time.Second && how != stage.Silent && how != stage.WayBack {
				continue
			}
			short := server == "kafka" && how == stage.WayBack && long == time.Second
			all = append(all, trouble{name: fmt.Sprintf("%s cut off for %v (%s)", server, long, how), short: short, long: long, strike: func(f *fleet) {
				f.sever(server, how, long)
			}})
		}
	}
	return all
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

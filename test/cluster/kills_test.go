//go:build cluster

package cluster

import (
	"time"

	"github.com/avalhq/aval/test/e2e/stage"
)

// kill kills one process with a role, and starts it again a second later.
func (f *fleet) kill(role string) {
	at := f.having(role)[0]
	f.live[at].Kill()
	time.Sleep(time.Second) // without it
	f.back(at)
}

// points are where a process with a role is killed: before and after what it writes durably, or sends.
var points = map[string][]string{
	"api":            {"guarantee.issue", "guarantee.accept"},
	"key-manager":    {"keys.lease", "keys.release"},
	"controller":     {"guarantee.commit", "requests.put", "action.sign", "action.confirm"},
	"relay":          {"bus.publish", "relay.advance"},
	"signing-worker": {"keys.lease", "decisions.decide", "signer.sign", "decisions.store", "keys.release"},
	"sender":         {"send", "bus.commit"},
	"tx-verify":      {"verdicts.record", "bus.commit"},
	"watcher":        {"transactions.mark"},
}

// killAt has a process with a role kill itself at each of its points, one after the other.
func (f *fleet) killAt(role string) {
	at := f.having(role)[0]
	if err := f.live[at].Terminate(); err != nil {
		f.t.Errorf("%s did not end in order: %v", role, err)
	}
	for _, point := range points[role] {
		for _, side := range []string{".before", ".after"} {
			f.armed(at, point+side+"=kill")
			select {
			case <-f.live[at].Done:
			case <-time.After(patience):
				f.t.Fatalf("%s did not come to %s\n%s", role, point+side, f.stderr())
			}
			if !f.live[at].Killed() {
				f.t.Errorf("%s at %s: %v", role, point+side, f.live[at].Err())
			}
		}
	}
	f.back(at)
}

// killByChance kills processes by chance, and starts each again.
func (f *fleet) killByChance() {
	chance := stage.NewChance(f.t, *seed)
	for range 12 {
		at := chance.Below(len(f.live))
		f.live[at].Kill()
		f.t.Logf("%s was killed", f.roles[at])
		f.back(at)
		time.Sleep(time.Duration(chance.Below(1500)) * time.Millisecond) // the load goes on
	}
}

// oversleep stops a signing worker at a point under its lease, for longer than that lasts, and continues it. Its key is set aside
// meanwhile and used by the other; it decides nothing under its old lease (I8), and what it had decided before it signs.
func (f *fleet) oversleep(point string) {
	at := f.having("signing-worker")[0]
	if err := f.live[at].Terminate(); err != nil {
		f.t.Errorf("the worker did not end in order: %v", err)
	}
	f.armed(at, point+"=stop@2")
	for deadline := time.Now().Add(patience); !f.live[at].Stopped(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("the worker did not come to %s\n%s", point, f.stderr())
		}
	}
	time.Sleep(lease + 5*time.Second) // the lease ends, and the load goes on
	if err := f.live[at].Continue(); err != nil {
		f.t.Fatal(err)
	}
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

//go:build cluster

package cluster

import (
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/signer"
)

// TestThePipelineInRoles: controllers ask, signing workers sign, over PostgreSQL's bus. Under load one worker is killed between
// decision and signature, another between store and announcement, then the relay that has the seat and a controller. Every
// transfer is paid once, and every key is free in the end.
func TestThePipelineInRoles(t *testing.T) {
	c := gather(t, place{processes: 1, attempts: 10, payers: 32, also: pipeline()}) // so many keys that each worker has some
	c.pause = 500 * time.Millisecond
	const api, controller, relay, unstored, unannounced, worker, watcher = 0, 1, 2, 4, 5, 6, 7
	for _, role := range []string{"controller", "relay", "relay", "signing-worker", "signing-worker", "signing-worker", "watcher"} {
		c.join(c.all[0], role)
	}
	if err := c.live[api].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(api, "", "--role", "api,controller")
	for at, faults := range map[int]string{unstored: "decisions.decide.after=kill@3", unannounced: "signer.publish.before=kill@4"} {
		if err := c.live[at].Stop(); err != nil {
			t.Fatal(err)
		}
		c.start(at, faults, "--role", "signing-worker")
	}
	stop := c.load()
	for _, at := range []int{unstored, unannounced} {
		select {
		case <-c.live[at].Done:
		case <-time.After(patience):
			t.Fatal("the worker was not killed")
		}
	}
	c.live[relay].Kill()
	time.Sleep(time.Second) // the load goes on
	c.live[controller].Kill()
	time.Sleep(time.Second)
	stop()
	c.settle()
	c.check()
	c.pace("the pipeline in roles", stall)
	for _, at := range []int{api, relay + 1, worker, watcher} {
		if err := c.live[at].Stop(); err != nil {
			t.Error(err)
		}
	}
}

// shared waits until so many processes have the partitions of a group among them, none more than one more than another's.
func (c *crowd) shared(group string, processes int) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		among, apart, free := c.database.Shares(c.t, group)
		if among == processes && apart <= 1 && free == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%d processes share the partitions of %s: %d are free, and one of their members has %d more than another", among, group, free, apart)
		}
	}
}

// pipeline is the configuration of a cluster in which workers sign.
func pipeline() map[string]any {
	return map[string]any{"signing": map[string]any{"by": "workers", "events": true}}
}

// lease is how long a signing worker may use a key: see signer.Options.
const lease = 30 * time.Second

// TestI8AStoppedWorkerSignsNothing: a signing worker is stopped (SIGSTOP) under its lease, right before its decision, for longer than the
// lease lasts; a second one between its decision and its signature. Their keys are set aside, compared with the chain and used by the
// others. Continued, the first decides nothing under its old lease, and the second signs what was decided or nothing: no nonce is used
// twice and no transfer paid twice.
func TestI8AStoppedWorkerSignsNothing(t *testing.T) {
	t.Parallel()
	c := gather(t, place{processes: 1, attempts: 10, payers: 32, also: pipeline()}) // so many keys that each worker has some
	for _, role := range []string{"relay", "signing-worker", "signing-worker", "signing-worker", "watcher"} {
		c.join(c.all[0], role)
	}
	if err := c.live[0].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(0, "", "--role", "api,controller")
	points := map[int]string{2: "decisions.decide.before=stop@2", 3: "signer.sign.before=stop@2"}
	for at, faults := range points {
		if err := c.live[at].Stop(); err != nil {
			t.Fatal(err)
		}
		c.start(at, faults, "--role", "signing-worker")
	}
	c.shared(signer.Group, 3) // or the one that is stopped first keeps what the others are owed
	c.pause = time.Second
	stop := c.load()
	for at, point := range points {
		for deadline := time.Now().Add(patience); !c.live[at].Stopped(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("worker %d did not come to %s: %s", at, point, c.live[at].Stderr())
			}
		}
	}
	time.Sleep(lease + 5*time.Second) // the leases end, and the load goes on
	for at := range points {
		if err := c.live[at].Continue(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Second) // the load goes on
	stop()
	c.settle()
	c.check()
	for at := range points {
		if err := c.live[at].Stop(); err != nil {
			t.Errorf("worker %d: %v", at, err)
		}
	}
}

//go:build cluster

package cluster

import (
	"testing"
	"time"
)

// TestThePipelineInRoles: controllers ask, signing workers sign, over PostgreSQL's bus. Under load one worker is killed between
// decision and signature, another between store and announcement, then the relay that has the seat and a controller. Every
// transfer is paid once, and every key is free in the end.
func TestThePipelineInRoles(t *testing.T) {
	c := gather(t, place{processes: 1, attempts: 10, also: map[string]any{"signing": map[string]any{"by": "workers", "events": true}}})
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
	c.pace("the pipeline in roles", 5*time.Second)
	for _, at := range []int{api, relay + 1, worker, watcher} {
		if err := c.live[at].Stop(); err != nil {
			t.Error(err)
		}
	}
}

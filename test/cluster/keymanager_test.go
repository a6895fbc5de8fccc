//go:build cluster

package cluster

import (
	"os"
	"strings"
	"testing"
	"time"

	etcdtrial "github.com/avalhq/aval/internal/backend/etcd/trial"
	"github.com/avalhq/aval/test/e2e/stage"
)

// TestTheKeyManagerComesBack: under load the key-manager over etcd is told to end, and later killed, and started again. Meanwhile
// nothing can be leased. What is to be signed waits at its worker and is not put off: in the end all is paid once, and every key
// is free.
func TestTheKeyManagerComesBack(t *testing.T) {
	t.Parallel()
	endpoint, keys := etcdtrial.Endpoint(t, os.Getenv(etcdtrial.Variable)), stage.FreeAddress(t)
	also := pipeline()
	also["etcd"] = map[string]any{"endpoints": []string{endpoint}, "prefix": etcdtrial.Prefix(t, endpoint)}
	also["key_manager"] = map[string]any{"address": keys, "listen": keys, "plaintext": true}
	const manager, worker = 1, 2
	c := gather(t, place{
		processes: 1, attempts: 10, payers: 8, also: also, args: []string{"--role", "api,controller,relay,watcher"},
		before: func(c *crowd) { c.join(c.all[0], "key-manager") },
	})
	c.join(c.all[0], "signing-worker")
	c.pause = 250 * time.Millisecond
	for how, end := range map[string]func() error{
		"told to end": func() error { return c.live[manager].Terminate() },
		"killed":      func() error { c.live[manager].Kill(); return nil },
	} {
		before := strings.Count(c.live[worker].Stderr(), "could not be carried out now")
		stop := c.load()
		if err := end(); err != nil {
			t.Error(err)
		}
		for began := time.Now(); strings.Count(c.live[worker].Stderr(), "could not be carried out now") == before; time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatalf("%s: the worker does not say that it is delayed\n%s", how, c.stderr())
			}
		}
		time.Sleep(2 * time.Second) // without it
		c.start(manager, "", "--role", "key-manager")
		back := time.Now()
		m := c.compose(c.payers[0], 0, true)
		c.see(m)
		c.ended(m)
		t.Logf("%s: a transfer that was handed over when it was back had ended %v later", how, time.Since(back).Round(time.Millisecond))
		stop()
		c.settle()
		told := string((&stage.Party{URL: c.all[worker].URL}).Do(t, "GET", "/metrics", "none", nil).Body)
		if how == "told to end" && strings.Contains(told, `outcome="left"`) {
			t.Errorf("the worker has left requests for later:\n%s", told)
		}
	}
	c.check()
}

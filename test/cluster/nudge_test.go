//go:build cluster

package cluster

import (
	"testing"
	"time"

	"github.com/avalhq/aval/client"
)

// TestProcessesTellEachOther: the process that holds a message learns from the one that has signed, and from the one that watches the
// chain, that it may go on. TestFaults looks at the same over Kafka and etcd.
func TestProcessesTellEachOther(t *testing.T) {
	c := gather(t, place{processes: 1, attempts: 3, payers: 1, also: pipeline(), args: []string{"--role", "api"}})
	for _, role := range []string{"controller", "controller", "relay", "signing-worker", "sender", "watcher"} {
		c.join(c.all[0], role)
	}
	c.idle()
	c.settle()
	c.check()
}

// asks is after how long an action that waits for others is asked again when nobody tells (package step).
const asks = 2 * time.Second

// idle hands transfers over, one after the other, while nothing else happens. Without being told it takes an action 2 s at least to
// notice that something was signed, or confirmed. On a busy machine one of them may take that long all the same, but not each.
func (c *crowd) idle() {
	c.t.Helper()
	quickest := map[string]time.Duration{"sign": asks, "confirm": asks}
	for n := 0; n < 20 && (quickest["sign"] == asks || quickest["confirm"] == asks); n++ {
		m := c.compose(c.payers[0], 0, true)
		c.see(m)
		for _, e := range c.ended(m) {
			if _, asked := quickest[e.Action]; asked {
				quickest[e.Action] = min(quickest[e.Action], e.Took)
			}
		}
	}
	for action, took := range quickest {
		if took == asks {
			c.t.Errorf("the action %s took 2 s or more each time: nobody told its controller that it may go on", action)
		}
	}
	c.t.Logf("sign took %v, confirm %v", quickest["sign"].Round(time.Millisecond), quickest["confirm"].Round(time.Millisecond))
}

// ended waits for the end of a message, and gives its history.
func (c *crowd) ended(m *sent) []client.Entry {
	c.t.Helper()
	for began := time.Now(); time.Since(began) < patience && m.failed == nil; time.Sleep(20 * time.Millisecond) {
		if rec, err := m.payer.at[0].Get(c.t.Context(), m.id); err != nil || rec.Status != client.Succeeded {
			continue
		}
		if history, err := m.payer.at[0].History(c.t.Context(), m.id); err == nil {
			return history
		}
	}
	c.t.Fatalf("a transfer has not ended: %v\n%s\n%s", m.failed, c.pending(), c.stderr())
	return nil
}

//go:build cluster

package cluster

import (
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

// TestSeveralProcessesOneKilled: three processes on one database. One is killed while it holds a key, between deciding and
// signing, another at a moment of chance; the third and a new one take their messages.
func TestSeveralProcessesOneKilled(t *testing.T) {
	c := gather(t, place{processes: 3, attempts: 2})
	c.strays = true
	c.tokens()
	if err := c.live[1].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(1, "decisions.decide.after=kill@10")
	stop := c.load()
	select {
	case <-c.live[1].Done:
	case <-time.After(patience):
		t.Fatal("the process was not killed")
	}
	time.Sleep(2 * time.Second) // the load goes on
	c.live[2].Kill()
	time.Sleep(2 * time.Second)
	stop()
	c.settle()
	c.check()
	c.pace("two of three killed", stall)
}

// TestSeveralProcessesRollingRestart: every process is stopped and started again under load. No submission fails, with the SDK's
// retries alone, and no message. How long messages take, from submission to end, is told for the time before, meanwhile and after; it rises
// for less than five seconds at each restart.
func TestSeveralProcessesRollingRestart(t *testing.T) {
	c := gather(t, place{processes: 3, attempts: 10})
	stop := c.load()
	time.Sleep(5 * time.Second) // the load alone
	began := time.Now()
	var turns []time.Time
	for i := range c.all {
		turn := time.Now()
		turns = append(turns, turn)
		if err := c.live[i].Stop(); err != nil {
			t.Error(err)
		}
		stopped := time.Since(turn)
		c.start(i, "")
		t.Logf("process %d stopped in %v and was back after %v", i, stopped.Round(time.Millisecond), time.Since(turn).Round(time.Millisecond))
		time.Sleep(2 * time.Second) // the load goes on
	}
	ended := time.Now()
	time.Sleep(5 * time.Second) // the load alone
	stop()
	c.settle()
	c.check()
	c.pace("rolling restart", stall)
	c.rise(began, ended, turns)
}

// TestSeveralProcessesOfOneRoleEach: one serves the API, one drives messages, one watches, and a second of each of the last two
// stands by. A watcher is killed, then a controller.
func TestSeveralProcessesOfOneRoleEach(t *testing.T) {
	c := gather(t, place{processes: 1, attempts: 10})
	roles := []string{"api", "controller", "controller", "watcher", "watcher"}
	for _, r := range roles[1:] {
		c.join(c.all[0], r)
	}
	if err := c.live[0].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(0, "", "--role", "api")
	for i, in := range c.all {
		for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/openapi.json": 404} {
			if i == 0 && path == "/openapi.json" {
				want = 200
			}
			if got := (&stage.Party{URL: in.URL}).Do(t, "GET", path, "none", nil).Status; got != want {
				t.Errorf("%s of the role %s: %d, want %d", path, roles[i], got, want)
			}
		}
	}
	c.idle()
	stop := c.load()
	time.Sleep(time.Second) // the load goes on
	c.live[3].Kill()
	time.Sleep(time.Second)
	c.live[1].Kill()
	time.Sleep(time.Second)
	stop()
	c.settle()
	c.check()
	c.pace("one role each", stall)
	for _, i := range []int{0, 2, 4} {
		if err := c.live[i].Stop(); err != nil {
			t.Errorf("%s: %v", roles[i], err)
		}
	}
}

// tokens of the development issuer are good at every process, whoever has given them.
func (c *crowd) tokens() {
	c.t.Helper()
	p := c.payers[0].at[0]
	for _, from := range c.all {
		given := &client.Credentials{URL: from.URL + "/oauth/token", ID: p.ID, Secret: p.Secret}
		token, err := given.Token(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		for _, to := range c.all {
			if got := (&stage.Party{URL: to.URL}).Do(c.t, "GET", "/v1/wallets", token, nil).Status; got != 200 {
				c.t.Errorf("a token of %s is answered by %s with %d", from.URL, to.URL, got)
			}
		}
	}
}

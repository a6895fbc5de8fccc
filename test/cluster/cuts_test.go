//go:build cluster

package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/test/e2e/stage"
)

// cuts are the ways in which the connection to a server fails.
var cuts = []stage.Cut{stage.Closed, stage.Reset, stage.Silent, stage.WayBack, stage.HeldBack, stage.Forgotten}

// lengths are how long a cut lasts, up to the flag.
func lengths() (all []time.Duration) {
	for _, d := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		if d <= *longest {
			all = append(all, d)
		}
	}
	return all
}

// TestDatabaseCutOff: three processes reach PostgreSQL through a network that fails in every way, for one of them and for all, under
// load. Nothing is lost, nothing done twice, and a minute after everything has ended.
func TestDatabaseCutOff(t *testing.T) {
	server := stage.NewServer(t, "postgres")
	var ways []*stage.Proxy
	c := gather(t, place{processes: 3, attempts: 2, admin: server.URL(t), way: func(_ int, upstream string) string {
		ways = append(ways, stage.NewProxy(t, upstream))
		return ways[len(ways)-1].Address
	}})
	c.strays, c.pause = true, 150*time.Millisecond
	stop := c.load()
	for range *rounds {
		for _, long := range lengths() {
			for n, how := range cuts {
				if *every || n%2 == 0 {
					c.cut(ways[n%3:n%3+1], how, long, fmt.Sprint("process ", n%3))
				}
				if *every || n%2 == 1 {
					c.cut(ways, how, long, "all processes")
				}
			}
		}
	}
	stop()
	c.settle()
	c.check()
	c.pace("database cut off", *longest+patience)
}

// cut cuts some ways for a time, and waits until submissions are answered again that were begun after it, at each process.
func (c *crowd) cut(ways []*stage.Proxy, how stage.Cut, long time.Duration, whose string) {
	c.t.Helper()
	var mends []func() error
	for _, w := range ways {
		mend, err := w.Cut(how)
		if err != nil {
			c.t.Fatal(err)
		}
		mends = append(mends, mend)
	}
	time.Sleep(long) // the cut
	var mending sync.WaitGroup
	for _, mend := range mends {
		mending.Go(func() {
			if err := mend(); err != nil {
				c.t.Error(err)
			}
		})
	}
	mending.Wait()
	began := time.Now()
	c.recovered(began)
	c.t.Logf("%s for %v (%s): accepted again at each process after %v", how, long, whose, time.Since(began).Round(time.Millisecond))
}

// recovered waits until each process has accepted a message that was handed to it after a time.
func (c *crowd) recovered(since time.Time) {
	c.t.Helper()
	for deadline := since.Add(patience); ; time.Sleep(20 * time.Millisecond) {
		served := map[int]bool{}
		c.mu.Lock()
		for i := len(c.sent) - 1; i >= 0 && c.sent[i].began.After(since); i-- {
			served[c.sent[i].by] = served[c.sent[i].by] || !c.sent[i].answered.IsZero()
		}
		c.mu.Unlock()
		all := true
		for i := range c.live {
			all = all && served[i]
		}
		if all {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%v after the cut only these processes accept again: %v\n%s", patience, served, c.stderr())
		}
	}
}

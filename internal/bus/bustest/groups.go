package bustest

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/bus"
)

func oldestFirst(t *testing.T, h Harness) {
	p := h.Join(t)
	want := numbered(bus.Events, "before", 20)
	p.publish(t, want...)
	same(t, read(t, p.join(t, "late", bus.Events), 20), want)
}

func groupsApart(t *testing.T, h Harness) {
	p := h.Join(t)
	want := numbered(bus.Events, "k", 20)
	p.publish(t, want...)
	for _, group := range []string{"one", "two"} {
		m := p.join(t, group, bus.Events)
		got := read(t, m, 20)
		same(t, got, want)
		commit(t, m, got)
	}
}

// crowd is members that poll and commit, each in a goroutine of its own, until it is stopped.
type crowd struct {
	mu   sync.Mutex
	got  map[string]map[int]int // by key: how often each member was given it
	wg   sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{got: map[string]map[int]int{}}
	c.ctx, c.stop = context.WithCancel(t.Context())
	t.Cleanup(func() { c.stop(); c.wg.Wait() })
	return c
}

// run lets the member work until the crowd or ctx is stopped.
func (c *crowd) run(ctx context.Context, t *testing.T, number int, m bus.Member) {
	c.wg.Go(func() {
		for {
			records, err := m.Poll(ctx, 7)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Errorf("member %d: %v", number, err)
				return
			}
			c.mu.Lock()
			for _, r := range records {
				if c.got[r.Key] == nil {
					c.got[r.Key] = map[int]int{}
				}
				c.got[r.Key][number]++
			}
			c.mu.Unlock()
			if err := m.Commit(ctx, records); err != nil && ctx.Err() == nil {
				t.Errorf("member %d: %v", number, err)
			}
		}
	})
}

// until waits for a condition on what came.
func (c *crowd) until(t *testing.T, what string, holds func(got map[string]map[int]int) bool) {
	t.Helper()
	for ctx := within(t, patience); ; {
		c.mu.Lock()
		ok, n := holds(c.got), len(c.got)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s did not happen; %d different records came", what, n)
		}
	}
}

// settle publishes until each of the members has been given something, so that the group has found its shape.
func (c *crowd) settle(t *testing.T, p Process, members ...int) {
	t.Helper()
	for round := 0; ; round++ {
		name := fmt.Sprintf("settle-%d", round)
		probe := numbered(bus.Due, name, 64)
		p.publish(t, probe...)
		served := map[int]bool{}
		c.until(t, "the delivery of 64 records", func(got map[string]map[int]int) bool {
			for _, r := range probe {
				if got[r.Key] == nil {
					return false
				}
				for member := range got[r.Key] {
					served[member] = true
				}
			}
			return true
		})
		all := true
		for _, member := range members {
			all = all && served[member]
		}
		if all {
			return
		}
		if round == 600 {
			t.Fatalf("members %v were not all given something; only %v were", members, served)
		}
		time.Sleep(50 * time.Millisecond) // a group finds its shape in its own time; the bound is above
	}
}

// shared: once the group has found its shape, each record goes to one member, once.
func shared(t *testing.T, h Harness) {
	c := newCrowd(t)
	for n := range 3 {
		c.run(c.ctx, t, n, h.Join(t).join(t, "g", bus.Due))
	}
	p := h.Join(t)
	c.settle(t, p, 0, 1, 2)
	want := numbered(bus.Due, "k", 300)
	p.publish(t, want...)
	c.until(t, "the delivery of 300 records", func(got map[string]map[int]int) bool { return complete(got, want) })
	served := map[int]int{}
	for _, r := range want {
		total := 0
		for member, n := range c.got[r.Key] {
			total += n
			served[member]++
		}
		if total != 1 {
			t.Errorf("%s came %d times: %v", r.Key, total, c.got[r.Key])
		}
	}
	for n := range 3 {
		if served[n] < 30 {
			t.Errorf("member %d was given %d of 300 records: %v", n, served[n], served)
		}
	}
}

func complete(got map[string]map[int]int, want []bus.Record) bool {
	for _, r := range want {
		if got[r.Key] == nil {
			return false
		}
	}
	return true
}

// newcomer: one that had everything for itself shares with the next.
func newcomer(t *testing.T, h Harness) {
	c := newCrowd(t)
	p := h.Join(t)
	c.run(c.ctx, t, 0, p.join(t, "g", bus.Due))
	c.settle(t, p, 0)
	c.run(c.ctx, t, 1, h.Join(t).join(t, "g", bus.Due))
	c.settle(t, p, 0, 1)
}

// handedOver: a member leaves with records in hand that it has not committed; the others are given them, and all that follow.
func handedOver(t *testing.T, h Harness) {
	p := h.Join(t)
	want := numbered(bus.Due, "k", 60)
	p.publish(t, want...)
	leaver := h.Join(t).join(t, "g", bus.Due)
	had := read(t, leaver, 60)
	stays := p.join(t, "g", bus.Due)
	commit(t, leaver, nil)
	leave(t, leaver)
	same(t, read(t, stays, 60), had)
	more := numbered(bus.Due, "more", 60)
	p.publish(t, more...)
	same(t, read(t, stays, 60), more)
}

// committed: by a member that leaves, in parts.
func committed(t *testing.T, h Harness) {
	p := h.Join(t)
	p.publish(t, numbered(bus.Due, "k", 40)...)
	for range 2 {
		m := p.join(t, "g", bus.Due)
		got, err := m.Poll(within(t, patience), 20)
		if err != nil {
			t.Fatal(err)
		}
		commit(t, m, got)
		leave(t, m)
	}
	more := numbered(bus.Due, "more", 5)
	p.publish(t, more...)
	m := p.join(t, "g", bus.Due)
	came := map[string]int{}
	for ctx := within(t, patience); came["more-0"]+came["more-1"]+came["more-2"]+came["more-3"]+came["more-4"] < 5; {
		got, err := m.Poll(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			came[r.Key]++
		}
	}
	for key, n := range came {
		if n > 1 {
			t.Errorf("%s came %d times", key, n)
		}
	}
}

// uncommitted: only those after the last committed one of each partition come again.
func uncommitted(t *testing.T, h Harness) {
	p := h.Join(t)
	for n := range 10 {
		p.publish(t, bus.Record{Topic: bus.Due, Key: "one key", Value: fmt.Append(nil, n)})
	}
	m := p.join(t, "g", bus.Due)
	commit(t, m, read(t, m, 10)[:4])
	leave(t, m)
	for i, r := range read(t, h.Join(t).join(t, "g", bus.Due), 6) {
		if want := fmt.Sprint(4 + i); string(r.Value) != want {
			t.Errorf("record %s came, want %s", r.Value, want)
		}
	}
}

// inherited: a process is killed with records in hand.
func inherited(t *testing.T, h Harness) {
	p, dead := h.Join(t), h.Join(t)
	want := numbered(bus.Due, "k", 60)
	p.publish(t, want...)
	had := read(t, dead.join(t, "g", bus.Due), 60)
	heir := p.join(t, "g", bus.Due)
	dead.Crash()
	same(t, read(t, heir, 60), had)
}

// overtaken: those before the last that was committed are done, in whatever order they are committed, at once or again.
func overtaken(t *testing.T, h Harness) {
	p := h.Join(t)
	p.publish(t, oneKey(40)...)
	m := p.join(t, "g", bus.Due)
	var wg sync.WaitGroup
	for _, r := range read(t, m, 40) {
		wg.Go(func() {
			if err := m.Commit(t.Context(), []bus.Record{r}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	leave(t, m)
	more := numbered(bus.Due, "more", 5)
	p.publish(t, more...)
	same(t, read(t, p.join(t, "g", bus.Due), 5), more)
}

// behind: what was committed counts, whoever else reads; and nobody has to be there to be behind.
func behind(t *testing.T, h Harness) {
	p := h.Join(t)
	p.publish(t, oneKey(5)...)
	for group, done := range map[string]int{"slow": 2, "quick": 5} {
		m := p.join(t, group, bus.Due)
		commit(t, m, read(t, m, 5)[:done])
		if group == "slow" {
			leave(t, m)
		}
	}
	ctx := within(t, patience)
	for want := map[string]int64{"slow": 3, "quick": 0}; ; {
		list, err := p.Bus.Backlogs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, b := range list {
			if b.Topic == bus.Due {
				got[b.Group] = b.Records
			}
		}
		if maps.Equal(got, want) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("behind are %v, want %v", got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// oneKey makes records that are in one partition.
func oneKey(n int) []bus.Record {
	records := numbered(bus.Due, "k", n)
	for i := range records {
		records[i].Key = "k"
	}
	return records
}

package bustest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/fault"
)

const (
	publishers = 6
	batches    = 20
	size       = 10
)

// busy publishes from several processes at once, and gives everything that was.
func busy(t *testing.T, h Harness) (all []bus.Record, wait func()) {
	var wg sync.WaitGroup
	for w := range publishers {
		p := h.Join(t)
		mine := numbered(bus.Due, fmt.Sprint("from-", w), batches*size)
		all = append(all, mine...)
		wg.Go(func() {
			for b := range batches {
				if err := p.Bus.Publish(t.Context(), mine[b*size:(b+1)*size]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return all, wg.Wait
}

// concurrent: members come, one goes and one dies while several processes publish. Nothing is missed.
func concurrent(t *testing.T, h Harness) {
	c := newCrowd(t)
	for n := range 2 {
		c.run(c.ctx, t, n, h.Join(t).join(t, "g", bus.Due))
	}
	all, wait := busy(t, h)
	doomed := h.Join(t)
	doomed.holding(t)
	leave(t, h.Join(t).holding(t))
	doomed.Crash()
	wait()
	c.until(t, "the delivery of all records", func(got map[string]map[int]int) bool { return complete(got, all) })
}

// holding makes a member of the group and publishes until it has been given something, which it does not commit.
func (p Process) holding(t *testing.T) bus.Member {
	t.Helper()
	m := p.join(t, "g", bus.Due)
	given := make(chan error, 1)
	go func() {
		_, err := m.Poll(within(t, patience), 50)
		given <- err
	}()
	for round := 0; ; round++ {
		select {
		case err := <-given:
			if err != nil {
				t.Fatal(err)
			}
			return m
		case <-time.After(20 * time.Millisecond):
			p.publish(t, numbered(bus.Due, fmt.Sprint("more-", round), 32)...)
		}
	}
}

func failed(t *testing.T, h Harness) {
	p := h.Join(t)
	m := p.join(t, "g", bus.Due)
	want := numbered(bus.Due, "k", 5)
	h.Faults.Arm("bus.publish.before", fault.Fail, 1)
	if err := p.Bus.Publish(t.Context(), want); err == nil {
		t.Fatal("a publication that failed was reported as done")
	}
	p.publish(t, want...)
	same(t, read(t, m, 5), want)
}

func reportedFailed(t *testing.T, h Harness) {
	p := h.Join(t)
	m := p.join(t, "g", bus.Due)
	want := numbered(bus.Due, "k", 5)
	h.Faults.Arm("bus.publish.after", fault.Fail, 1)
	if err := p.Bus.Publish(t.Context(), want); err == nil {
		t.Fatal("a publication that was to be reported as failed was not")
	}
	same(t, read(t, m, 5), want)
	p.publish(t, want...) // as a publisher does that does not know
	same(t, read(t, m, 5), want)
}

func commitFailed(t *testing.T, h Harness) {
	p := h.Join(t)
	want := numbered(bus.Due, "k", 5)
	p.publish(t, want...)
	m := p.join(t, "g", bus.Due)
	got := read(t, m, 5)
	h.Faults.Arm("bus.commit.before", fault.Fail, 1)
	if err := m.Commit(t.Context(), got); err == nil {
		t.Fatal("a commit that failed was reported as done")
	}
	leave(t, m)
	same(t, read(t, p.join(t, "g", bus.Due), 5), want)
}

func commitReportedFailed(t *testing.T, h Harness) {
	p := h.Join(t)
	p.publish(t, numbered(bus.Due, "k", 5)...)
	m := p.join(t, "g", bus.Due)
	got := read(t, m, 5)
	h.Faults.Arm("bus.commit.after", fault.Fail, 1)
	if err := m.Commit(t.Context(), got); err == nil {
		t.Fatal("a commit that was to be reported as failed was not")
	}
	commit(t, m, got) // again, as one does who does not know
	leave(t, m)
	more := numbered(bus.Due, "more", 5)
	p.publish(t, more...)
	same(t, read(t, p.join(t, "g", bus.Due), 5), more)
}

// Package bustest is the conformance suite of bus.Bus and bus.Member. Every backend runs it whole.
package bustest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
)

// Harness is what the suite needs of a backend: one bus, whose topics are empty.
type Harness struct {
	// Join adds a process to those that use the bus.
	Join func(t *testing.T) Process
	// Faults strikes the writes of all processes, at the points of bus.publish and bus.commit.
	Faults *fault.Points
}

// Process is one that uses the bus.
type Process struct {
	Bus   bus.Bus
	Crash func() // ends it as SIGKILL does: nothing is handed over
}

// Run runs the suite; each case opens a bus of its own.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/a record comes as it was published":                unchanged,
			"basic/a read gives at most what is asked for":            limited,
			"basic/a read waits for a record":                         waits,
			"basic/a read ends with its context":                      cancelled,
			"basic/topics are apart":                                  topicsApart,
			"basic/nothing to publish is published":                   nothing,
			"basic/a closed member reads no more":                     closed,
			"basic/a key keeps its order":                             ordered,
			"basic/offsets grow in a partition":                       offsetsGrow,
			"basic/a new group begins with the oldest":                oldestFirst,
			"basic/each group gets everything":                        groupsApart,
			"basic/each record goes to one member":                    shared,
			"basic/a newcomer gets its share":                         newcomer,
			"basic/what a member leaves others get":                   handedOver,
			"basic/what was committed does not come again":            committed,
			"basic/what was not committed comes again":                uncommitted,
			"basic/what the dead had others get":                      inherited,
			"basic/how far each is behind is told":                    behind,
			"concurrency/I16: members beside publishers miss nothing": concurrent,
			"concurrency/a commit never takes another one back":       overtaken,
			"faults/a publication that failed can be made again":      failed,
			"faults/a publication reported as failed is there":        reportedFailed,
			"faults/a commit that failed gives records again":         commitFailed,
			"faults/a commit reported as failed loses nothing":        commitReportedFailed,
		},
		Lacks: map[conform.Tier]string{
			conform.Transactions: "a publication has none: after an error some of its records may be there, or twice",
		},
		Parallel: true,
	}.Run(t, open)
}

// patience bounds what must happen; nothing waits as long as that in a test that passes.
const patience = 60 * time.Second

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// numbered makes n records of a topic, each with a key of its own.
func numbered(topic, name string, n int) []bus.Record {
	records := make([]bus.Record, n)
	for i := range records {
		records[i] = bus.Record{Topic: topic, Key: fmt.Sprintf("%s-%d", name, i), Value: fmt.Appendf(nil, `{"n":%d}`, i)}
	}
	return records
}

func (p Process) publish(t *testing.T, records ...bus.Record) {
	t.Helper()
	if err := p.Bus.Publish(within(t, patience), records); err != nil {
		t.Fatal(err)
	}
}

func (p Process) join(t *testing.T, group string, topics ...string) bus.Member {
	t.Helper()
	m, err := p.Bus.Join(within(t, patience), group, topics...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // closed already, or its process has crashed
	return m
}

// read polls until n records have come, and gives them in their order.
func read(t *testing.T, m bus.Member, n int) (got []bus.Record) {
	t.Helper()
	ctx := within(t, patience)
	for len(got) < n {
		some, err := m.Poll(ctx, 100)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		got = append(got, some...)
	}
	if len(got) > n {
		t.Fatalf("%d records came, want %d", len(got), n)
	}
	return got
}

// none checks that nothing comes for a while.
func none(t *testing.T, m bus.Member) {
	t.Helper()
	if got, err := m.Poll(within(t, 700*time.Millisecond), 10); err == nil {
		t.Fatalf("%d records came, the first is %+v; want none", len(got), got[0])
	}
}

func commit(t *testing.T, m bus.Member, records []bus.Record) {
	t.Helper()
	if err := m.Commit(within(t, patience), records); err != nil {
		t.Fatal(err)
	}
}

func leave(t *testing.T, m bus.Member) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// keys are those of the records, with how often each occurs.
func keys(records []bus.Record) map[string]int {
	all := map[string]int{}
	for _, r := range records {
		all[r.Key]++
	}
	return all
}

// same checks that exactly the wanted records came, each once, in whatever order.
func same(t *testing.T, got, want []bus.Record) {
	t.Helper()
	came := keys(got)
	for key, n := range came {
		if n > 1 {
			t.Errorf("%s came %d times", key, n)
		}
	}
	for _, r := range want {
		if came[r.Key] == 0 {
			t.Errorf("%s did not come", r.Key)
		}
		delete(came, r.Key)
	}
	for key := range came {
		t.Errorf("%s came and was not published", key)
	}
}

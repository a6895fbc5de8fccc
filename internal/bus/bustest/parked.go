package bustest

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
)

// ParkedHarness is a backend of bus.Parked under test.
type ParkedHarness struct {
	// Open opens the port on the same storage again, as the next process does; what was opened before has ended.
	Open func(t *testing.T) bus.Parked
	// Faults are those that it was opened with.
	Faults *fault.Points
}

// RunParked runs the suite of bus.Parked; each case has storage of its own.
func RunParked(t *testing.T, open func(t *testing.T) ParkedHarness) {
	t.Helper()
	conform.Suite[ParkedHarness]{
		Cases: map[string]func(*testing.T, ParkedHarness){
			"basic/a parked record comes back with all that it was":   parkedWhole,
			"transactions/I17: what is read again is parked once":     parkedOnce,
			"basic/another record at the same offset is another one":  parkedAnew,
			"basic/groups park for themselves":                        parkedApart,
			"basic/pages go by the order of parking":                  parkedPages,
			"basic/what was dropped or replayed waits no more":        parkedEnded,
			"concurrency/two readers of one record park it once":      parkedTogether,
			"faults/a parking that failed can be repeated":            parkFaults,
			"faults/an ending that is reported as failed is not lost": endFaults,
		},
	}.Run(t, open)
}

// unread is a record that its group could not use.
func unread(offset int64) bus.ParkedRecord {
	return bus.ParkedRecord{
		Record: bus.Record{Topic: bus.Signed, Key: "key_a", Value: []byte{0xff, 0, '{'}, Headers: map[string]string{"traceparent": "00-1"}, Partition: 3, Offset: offset},
		Group:  "sender", Code: "record-malformed", Why: "it cannot be read",
	}
}

func park(t *testing.T, p bus.Parked, want int, records ...bus.ParkedRecord) {
	t.Helper()
	fresh, err := p.Park(t.Context(), records)
	if err != nil || fresh != want {
		t.Fatalf("parked %d, %v; want %d", fresh, err, want)
	}
}

// waiting lists all, and compares them with those that are wanted.
func waiting(t *testing.T, p bus.Parked, want ...bus.ParkedRecord) []bus.ParkedRecord {
	t.Helper()
	got, err := p.List(t.Context(), 0, 100)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d wait, %v; want %d", len(got), err, len(want))
	}
	if n, err := p.Count(t.Context()); err != nil || n != int64(len(want)) {
		t.Errorf("%d are counted, %v; want %d", n, err, len(want))
	}
	for i := range got {
		plain := got[i]
		if plain.ID == 0 || time.Since(plain.At) > time.Minute {
			t.Errorf("it has the id %d, of %s", plain.ID, plain.At)
		}
		plain.ID, plain.At = 0, time.Time{}
		if !reflect.DeepEqual(plain, want[i]) {
			t.Errorf("%d is %+v; want %+v", i, plain, want[i])
		}
	}
	return got
}

func parkedWhole(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	plain := unread(8)
	plain.Headers, plain.Value = nil, []byte{}
	park(t, p, 2, unread(7), plain)
	park(t, p, 0)
	p = h.Open(t)
	for _, one := range waiting(t, p, unread(7), plain) {
		if got, err := p.Get(t.Context(), one.ID); err != nil || !reflect.DeepEqual(got, one) {
			t.Errorf("got %+v, %v; want %+v", got, err, one)
		}
	}
	if _, err := p.Get(t.Context(), 1<<40); !errors.Is(err, bus.ErrNotParked) {
		t.Errorf("an unknown one: %v", err)
	}
}

func parkedOnce(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	again := unread(7)
	again.Why = "for another reason"
	park(t, p, 1, unread(7), again)
	p = h.Open(t)
	park(t, p, 1, again, unread(9))
	waiting(t, p, unread(7), unread(9))
}

func parkedAnew(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	value, key := unread(7), unread(7)
	value.Value, key.Key = []byte("another"), "key_b"
	park(t, p, 3, unread(7), value, key)
	waiting(t, p, unread(7), value, key)
}

func parkedApart(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	other, topic, partition := unread(7), unread(7), unread(7)
	other.Group, topic.Topic, partition.Partition = "tx-verify", bus.Unsigned, 4
	park(t, p, 1, unread(7))
	park(t, p, 3, other, topic, partition)
	waiting(t, p, unread(7), other, topic, partition)
}

func parkedPages(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	for n := range 7 {
		park(t, p, 1, unread(int64(100-n)))
	}
	var got []int64
	for after := int64(0); ; {
		some, err := p.List(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		for _, r := range some {
			got, after = append(got, r.Offset), r.ID
		}
	}
	if !reflect.DeepEqual(got, []int64{100, 99, 98, 97, 96, 95, 94}) {
		t.Errorf("they come as %v", got)
	}
}

func parkedEnded(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	park(t, p, 3, unread(1), unread(2), unread(3))
	all := waiting(t, p, unread(1), unread(2), unread(3))
	for i, how := range []bus.Ending{bus.Dropped, bus.Replayed} {
		if err := p.End(t.Context(), all[i].ID, how, "ana"); err != nil {
			t.Fatal(err)
		}
		if err := p.End(t.Context(), all[i].ID, bus.Dropped, "ben"); !errors.Is(err, bus.ErrNotParked) {
			t.Errorf("%s twice: %v", how, err)
		}
		if _, err := p.Get(t.Context(), all[i].ID); !errors.Is(err, bus.ErrNotParked) {
			t.Errorf("what is %s is still there: %v", how, err)
		}
	}
	park(t, p, 0, unread(1), unread(2)) // read once more, it stays as the operator has left it
	waiting(t, h.Open(t), unread(3))
}

func parkedTogether(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	var fresh atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			n, err := p.Park(t.Context(), []bus.ParkedRecord{unread(1), unread(2)})
			if err != nil {
				t.Error(err)
			}
			fresh.Add(int64(n))
		})
	}
	all.Wait()
	if fresh.Load() != 2 {
		t.Errorf("2 records were parked %d times", fresh.Load())
	}
	waiting(t, p, unread(1), unread(2))
}

func parkFaults(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	for offset, point := range []string{"parked.park.before", "parked.park.after"} {
		h.Faults.Arm(point, fault.Fail, 1)
		if n, err := p.Park(t.Context(), []bus.ParkedRecord{unread(int64(offset))}); err == nil || n != 0 {
			t.Errorf("%s: %d, %v", point, n, err)
		}
		p = h.Open(t)
		park(t, p, 1-offset, unread(int64(offset)))
	}
	waiting(t, p, unread(0), unread(1))
}

func endFaults(t *testing.T, h ParkedHarness) {
	p := h.Open(t)
	park(t, p, 2, unread(1), unread(2))
	all := waiting(t, p, unread(1), unread(2))
	for i, point := range []string{"parked.end.before", "parked.end.after"} {
		h.Faults.Arm(point, fault.Fail, 1)
		if err := p.End(t.Context(), all[i].ID, bus.Dropped, "ana"); err == nil {
			t.Errorf("%s: no error", point)
		}
	}
	waiting(t, h.Open(t), unread(1))
}

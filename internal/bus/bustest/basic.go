package bustest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/bus"
)

func unchanged(t *testing.T, h Harness) {
	p := h.Join(t)
	alone := p.join(t, "", bus.Events)
	want := []bus.Record{
		{Topic: bus.Events, Key: "a", Value: []byte(`{"x":"ü"}`), Headers: map[string]string{"ce-id": "1", "empty": ""}},
		{Topic: bus.Events, Key: "a", Value: []byte{0, 255, 10}},
		{Topic: bus.Events, Key: "a", Value: []byte{}},
		{Topic: bus.Events, Key: "a", Value: []byte("last")},
	}
	p.publish(t, want...)
	for _, m := range []bus.Member{alone, p.join(t, "g", bus.Events)} {
		for i, got := range read(t, m, len(want)) {
			if got.Topic != want[i].Topic || got.Key != want[i].Key || string(got.Value) != string(want[i].Value) || !maps.Equal(got.Headers, want[i].Headers) {
				t.Errorf("record %d came as %+v, was published as %+v", i, got, want[i])
			}
		}
	}
}

func limited(t *testing.T, h Harness) {
	p := h.Join(t)
	want := numbered(bus.Due, "k", 10)
	p.publish(t, want...)
	m := p.join(t, "g", bus.Due)
	var got []bus.Record
	for ctx := within(t, patience); len(got) < 10; {
		some, err := m.Poll(ctx, 3)
		if err != nil || len(some) == 0 || len(some) > 3 {
			t.Fatalf("asked for 3 records, got %d, %v", len(some), err)
		}
		got = append(got, some...)
	}
	same(t, got, want)
}

func waits(t *testing.T, h Harness) {
	p := h.Join(t)
	m := p.join(t, "g", bus.Due)
	got := make(chan []bus.Record, 1)
	go func() {
		records, err := m.Poll(within(t, patience), 10)
		if err != nil {
			t.Error(err)
		}
		got <- records
	}()
	want := numbered(bus.Due, "k", 1)
	h.Join(t).publish(t, want...) // another process
	same(t, <-got, want)
}

func cancelled(t *testing.T, h Harness) {
	p := h.Join(t)
	for _, group := range []string{"g", ""} {
		if got, err := p.join(t, group, bus.Due).Poll(within(t, 50*time.Millisecond), 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("group %q: read %v and %v, want the context's error", group, got, err)
		}
	}
}

func topicsApart(t *testing.T, h Harness) {
	p := h.Join(t)
	one, two := numbered(bus.Unsigned, "u", 5), numbered(bus.Signed, "s", 5)
	p.publish(t, append(one, two...)...)
	m := p.join(t, "g", bus.Signed)
	same(t, read(t, m, 5), two)
	none(t, m)
	same(t, read(t, p.join(t, "both", bus.Unsigned, bus.Signed), 10), append(one, two...))
}

func nothing(t *testing.T, h Harness) {
	p := h.Join(t)
	p.publish(t)
	m := p.join(t, "g", bus.Due)
	commit(t, m, nil)
	none(t, m)
}

func closed(t *testing.T, h Harness) {
	p := h.Join(t)
	p.publish(t, numbered(bus.Due, "k", 1)...)
	for _, group := range []string{"g", ""} {
		m := p.join(t, group, bus.Due)
		leave(t, m)
		leave(t, m) // again is harmless
		if got, err := m.Poll(within(t, patience), 1); err == nil {
			t.Errorf("group %q: a closed member was given %v", group, got)
		}
	}
}

// ordered: publishers with a key each, beside one another, over all partitions.
func ordered(t *testing.T, h Harness) {
	const publishers, batches, size = 6, 20, 5
	var wg sync.WaitGroup
	for w := range publishers {
		p := h.Join(t)
		wg.Go(func() {
			for b := range batches {
				batch := make([]bus.Record, size)
				for i := range batch {
					batch[i] = bus.Record{Topic: bus.Signed, Key: fmt.Sprint("key-", w), Value: fmt.Append(nil, b*size+i)}
				}
				if err := p.Bus.Publish(t.Context(), batch); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := map[string]int{}
	m := h.Join(t).join(t, "g", bus.Signed)
	for _, r := range read(t, m, publishers*batches*size) {
		if want := fmt.Sprint(next[r.Key]); string(r.Value) != want {
			t.Fatalf("%s: record %s came, want %s", r.Key, r.Value, want)
		}
		next[r.Key]++
	}
	wg.Wait()
}

func offsetsGrow(t *testing.T, h Harness) {
	p := h.Join(t)
	m := p.join(t, "g", bus.Due)
	type partition struct {
		topic string
		id    int32
	}
	last, of := map[partition]int64{}, map[string]int32{}
	for round := range 4 {
		p.publish(t, numbered(bus.Due, "k", 50)...)
		for _, r := range read(t, m, 50) {
			at := partition{r.Topic, r.Partition}
			if before, seen := last[at]; seen && r.Offset <= before {
				t.Errorf("offset %d of %+v came after %d", r.Offset, at, before)
			}
			last[at] = r.Offset
			if before, seen := of[r.Key]; seen && before != r.Partition {
				t.Errorf("round %d: %s moved from partition %d to %d", round, r.Key, before, r.Partition)
			}
			of[r.Key] = r.Partition
		}
	}
	if len(last) < 2 {
		t.Errorf("50 keys are in %d partition", len(last))
	}
}

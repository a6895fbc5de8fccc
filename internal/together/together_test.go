package together_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/together"
)

// slowTable answers a key with the number of the read, a second after it was asked.
type slowTable struct {
	reads [][]string
	err   error
}

func (s *slowTable) read(_ context.Context, keys []string) (map[string]int, error) {
	s.reads = append(s.reads, slices.Sorted(slices.Values(keys)))
	number, err := len(s.reads), s.err
	time.Sleep(time.Second)
	found := map[string]int{}
	for _, key := range keys {
		if key != "none" {
			found[key] = number
		}
	}
	return found, err
}

// TestReads: who asks while a read is under way is not answered by that one, which may have read before the question,
// but together with all others by the next.
func TestReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &slowTable{}
		s := together.New(table.read)
		var all sync.WaitGroup
		ask := func(key string, want int) {
			all.Go(func() {
				if found, err := s.Get(t.Context(), key); found[key] != want || err != nil {
					t.Errorf("%s: %d, %v; want it of read %d", key, found[key], err, want)
				}
			})
			synctest.Wait()
		}
		ask("a", 1)
		for range 50 {
			ask("a", 2)
			ask("b", 2)
		}
		ask("none", 0)
		all.Wait()
		ask("a", 3)
		all.Wait()
		want := [][]string{{"a"}, {"a", "b", "none"}, {"a"}}
		if !slices.EqualFunc(table.reads, want, slices.Equal) {
			t.Errorf("read %v, want %v", table.reads, want)
		}
	})
}

func TestReadsFailTogetherAndEndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &slowTable{err: errors.New("gone")}
		s := together.New(table.read)
		hurried, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if _, err := s.Get(hurried, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who has no time left is told %v", err)
		}
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, table.err) {
			t.Errorf("the next read's error is %v", err)
		}
		table.err = nil
		if found, err := s.Get(t.Context(), "a"); found["a"] != 3 || err != nil {
			t.Errorf("after a failure: %d, %v", found["a"], err)
		}
	})
}

func TestPauseIsForLoadAlone(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		todo       int
		full       bool
		took, want time.Duration
	}{
		{1, false, ms, 0}, {63, false, ms, 0}, {64, false, ms, 8 * ms}, {500, false, 40 * ms, 320 * ms}, {500, false, time.Minute, 400 * ms}, {500, true, ms, 0},
	} {
		if got := together.Pause(c.todo, c.full, c.took); got != c.want {
			t.Errorf("with %d to do, full %v, after %s it is %s, want %s", c.todo, c.full, c.took, got, c.want)
		}
	}
}

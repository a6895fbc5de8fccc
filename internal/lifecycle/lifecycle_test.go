package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/lifecycle"
)

// journal records what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) write(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// service works until it is stopped, then takes a while to leave.
func (j *journal) service(name string, leaving time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		j.write(name + " stopping")
		time.Sleep(leaving) // in the test's own time
		j.write(name + " gone")
		return ctx.Err()
	}
}

func TestStopsInReverseOrderOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var g lifecycle.Group
		for _, name := range []string{"database", "controller", "http"} {
			g.Add(name, j.service(name, time.Second))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatalf("an ordinary stop gave %v", err)
		}
		want := []string{"http stopping", "http gone", "controller stopping", "controller gone", "database stopping", "database gone"}
		if !slices.Equal(j.lines, want) {
			t.Errorf("stopped as %v, want %v", j.lines, want)
		}
	})
}

func TestOneFailureStopsAllAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the disk is full")
		var j journal
		var g lifecycle.Group
		g.Add("database", j.service("database", 0))
		g.Add("controller", func(context.Context) error { return broken })
		g.Add("http", func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("a later failure")
		})
		err := g.Run(t.Context())
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "controller") || strings.Contains(err.Error(), "later") {
			t.Errorf("got %v, want the first failure with its service's name", err)
		}
		if !slices.Contains(j.lines, "database gone") {
			t.Errorf("the database was not stopped: %v", j.lines)
		}
	})
}

func TestFailureWhileStoppingIsReported(t *testing.T) {
	broken := errors.New("the last commit failed")
	var g lifecycle.Group
	g.Add("database", func(ctx context.Context) error {
		<-ctx.Done()
		return broken
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ctx); !errors.Is(err, broken) {
		t.Errorf("got %v, want the failure during the stop", err)
	}
}

func TestPanicBecomesAnError(t *testing.T) {
	var g lifecycle.Group
	g.Add("controller", func(context.Context) error { panic("nil map") })
	err := g.Run(t.Context())
	var panicked *lifecycle.PanicError
	if !errors.As(err, &panicked) || panicked.Value != "nil map" || len(panicked.Stack) == 0 {
		t.Fatalf("got %v, want a PanicError with value and stack", err)
	}
	if strings.Contains(err.Error(), "goroutine") || !strings.Contains(err.Error(), "controller") {
		t.Errorf("the text %q should name the service and hold no stack trace", err)
	}
}

func TestDrainDeadlineLeavesTheStuckBehindAndCancelsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var j journal
		var g lifecycle.Group
		g.Add("database", j.service("database", 0))
		g.Add("stuck", func(context.Context) error {
			<-release
			return nil
		})
		g.Add("http", j.service("http", time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := g.Run(ctx)
		synctest.Wait()
		if !errors.Is(err, lifecycle.ErrDrain) || !strings.Contains(err.Error(), "stuck") || strings.Contains(err.Error(), "http") {
			t.Errorf("got %v, want ErrDrain naming the stuck service", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("Run returned after %s, want the drain deadline of 10s", took)
		}
		if !slices.Contains(j.lines, "database gone") {
			t.Errorf("the database was not cancelled at the deadline: %v", j.lines)
		}
	})
}

func TestCancelledThoughNobodyCancelledIsAFailure(t *testing.T) {
	var g lifecycle.Group
	g.Add("relay", func(context.Context) error { return context.Canceled })
	if err := g.Run(t.Context()); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "relay") {
		t.Errorf("got %v, want the failure of the relay", err)
	}
}

func TestEndsWhenAllServicesHaveFinished(t *testing.T) {
	var g lifecycle.Group
	for _, name := range []string{"one", "two"} {
		g.Add(name, func(context.Context) error { return nil })
	}
	if err := g.Run(t.Context()); err != nil {
		t.Errorf("services that finish are no failure: %v", err)
	}
	var empty lifecycle.Group
	if err := empty.Run(t.Context()); err != nil {
		t.Errorf("an empty group gave %v", err)
	}
}

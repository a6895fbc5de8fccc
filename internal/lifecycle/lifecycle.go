// Package lifecycle runs the services of a process: one way to start, to fail and to stop, for all of them.
//
// A service is a function that works until its context ends. A Group starts its services in the order in which they were
// added and stops them in the reverse order, one after the other: a service may rely on those added before it until it has
// returned itself, so the HTTP server drains while the database's writer still commits. One service's failure stops them all.
//
// A Group opens nothing and knows no readiness: listen, open files and check before Add, so that what can be refused at the
// start is refused there. It does not restart what failed; that is for whoever started the process.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// patience is how long Run waits for the services to stop, from the first cancellation on, until it gives up on those that have
// not returned.
const patience = 10 * time.Second

// Group is a set of services with one life. The zero Group is ready to use; Add everything, then Run once.
type Group struct{ services []service }

type service struct {
	name string
	run  func(context.Context) error
}

// running is a started service: done is closed when it has returned, and err may be read from then on.
type running struct {
	service
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// PanicError is what a service's panic becomes. Its text has no stack trace; Stack is for the log.
type PanicError struct {
	Value any
	Stack []byte
}

// Error tells the value that the service panicked with.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrDrain says that services had not returned when the drain deadline passed; they were left behind.
var ErrDrain = errors.New("did not stop in time")

// Add appends a service. It returns nil when its work is done or its context has ended; any other return fails the Group.
func (g *Group) Add(name string, run func(ctx context.Context) error) {
	g.services = append(g.services, service{name, run})
}

// Run starts the services and returns when all have returned, or when the drain deadline has passed. The error is the first
// failure, with its service's name, joined with ErrDrain for those left behind. That ctx ended is no failure.
func (g *Group) Run(ctx context.Context) error {
	ended := make(chan *running, len(g.services))
	started := make([]*running, 0, len(g.services))
	for _, s := range g.services {
		started = append(started, start(ctx, s, ended))
	}
	var failure error
	for range started {
		select {
		case <-ctx.Done():
		case r := <-ended:
			if failure = r.failure(); failure == nil {
				continue
			}
		}
		break
	}
	return g.drain(started, ended, failure)
}

// start runs s under a context of its own: it keeps ctx's values, and is cancelled by drain, in its turn, not by ctx.
func start(ctx context.Context, s service, ended chan<- *running) *running {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{service: s, stop: stop, done: make(chan struct{})}
	go func() {
		defer stop()
		if err := guarded(own, s.run); own.Err() == nil || !errors.Is(err, context.Canceled) {
			r.err = err // that it was cancelled is no failure, unless nobody cancelled it
		}
		close(r.done)
		ended <- r
	}()
	return r
}

func guarded(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return run(ctx)
}

// drain stops the services, last one first, each when the one after it has returned; at the deadline it stops all at once.
func (g *Group) drain(started []*running, ended <-chan *running, failure error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for i := len(started) - 1; i >= 0; i-- {
		started[i].stop()
		select {
		case <-started[i].done:
		case <-deadline.C:
			return errors.Join(failure, leave(started[:i+1]))
		}
	}
	// Those that failed while they were stopping, in the order in which they returned.
	for failure == nil && len(ended) > 0 {
		failure = (<-ended).failure()
	}
	return failure
}

// leave cancels what is still running and names it.
func leave(started []*running) error {
	var names []string
	for _, r := range started {
		r.stop()
		select {
		case <-r.done:
		default:
			names = append(names, r.name)
		}
	}
	return fmt.Errorf("services %q %w (%s); they were left behind", names, ErrDrain, patience)
}

// failure is the service's error with its name.
func (r *running) failure() error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("service %s failed: %w", r.name, r.err)
}

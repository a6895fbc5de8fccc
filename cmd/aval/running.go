package main

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/avalhq/aval/internal/config"
)

// running is a platform that serves.
type running struct {
	*platform
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
	err  error         // why, once done
}

// launch opens a platform and runs it until ctx ends or it is stopped.
func launch(ctx context.Context, c config.Config, o options) (*running, error) {
	p, err := openPlatform(ctx, c, o)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	r := &running{platform: p, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = p.Run(ctx)
	}()
	return r, nil
}

// end stops it, waits, and gives everything back.
func (r *running) end() error {
	r.stop()
	<-r.done
	err := errors.Join(r.err, r.Close())
	if r.options.faults != nil { // crash tests learn from a clean run which points there are
		r.log.Info("fault points passed", "points", slices.Sorted(maps.Keys(r.options.faults.Hits())))
	}
	return err
}

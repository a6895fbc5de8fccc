package controller

import (
	"context"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/step"
)

// slow is how long the run of a lane takes until it counts as held up: then it takes none of the places that the others share.
const slow = 5 * time.Second

// lanes sorts the flights of an action whose tasks can wait for one another. Each lane is given its batches one after the other, and
// none waits for another lane's.
type lanes struct {
	e       *executor
	workers *sync.WaitGroup
	all     map[string]*lane
	ready   []string    // lanes that wait for a place to run
	busy    int         // runs under way, those that are held up left out
	open    int         // flights that wait or are run in lanes that are not held up
	ended   chan string // lanes whose run has ended
}

// lane is what is under way in one of them.
type lane struct {
	waiting []*flight
	running int       // flights of the run that is under way; 0: there is none
	begun   time.Time // of the run
	ready   bool      // it waits for a place
	held    bool      // its run is held up
}

func newLanes(e *executor, workers *sync.WaitGroup) *lanes {
	return &lanes{e: e, workers: workers, all: map[string]*lane{}, ended: make(chan string)}
}

// sort works until ctx ends.
func (l *lanes) sort(ctx context.Context) {
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	for {
		select {
		case <-l.e.queue.signal:
			l.add(l.e.queue.take(l.e.action.Batch))
		case name := <-l.ended:
			l.end(name)
		case <-looks.C:
			l.look(time.Now())
		case <-ctx.Done():
			return
		}
		l.run(ctx)
	}
}

// add has flights wait in their lanes.
func (l *lanes) add(batch []*flight) {
	for _, f := range batch {
		name := l.e.action.Lane(f.task(time.Time{}, nil))
		a := l.all[name]
		if a == nil {
			a = &lane{}
			l.all[name] = a
		}
		a.waiting = append(a.waiting, f)
		if !a.held {
			l.open++
		}
		l.offer(name, a)
	}
}

// offer has a lane wait for a place when it has something to run.
func (l *lanes) offer(name string, a *lane) {
	if len(a.waiting) > 0 && a.running == 0 && !a.ready {
		a.ready = true
		l.ready = append(l.ready, name)
	}
}

// end is for a lane whose run has ended; one for which nothing waits is forgotten.
func (l *lanes) end(name string) {
	a := l.all[name]
	if a.held {
		l.open += len(a.waiting)
	} else {
		l.open -= a.running
		l.busy--
	}
	a.running, a.held = 0, false
	if len(a.waiting) == 0 {
		delete(l.all, name)
	}
	l.offer(name, a)
}

// run begins runs as long as there are places.
func (l *lanes) run(ctx context.Context) {
	for len(l.ready) > 0 && l.busy < l.e.action.Parallel {
		name := l.ready[0]
		l.ready = l.ready[1:]
		a := l.all[name]
		n := min(len(a.waiting), l.e.action.Batch)
		batch, open := a.waiting[:n:n], l.open
		a.waiting = append([]*flight(nil), a.waiting[n:]...)
		a.ready, a.running, a.begun = false, n, time.Now()
		l.busy++
		l.workers.Go(func() {
			l.e.work(ctx, batch, open)
			select {
			case l.ended <- name:
			case <-ctx.Done():
			}
		})
	}
}

// look finds the lanes whose runs are held up: their key is in use elsewhere, or signs slowly. What waits behind them leaves the hand when
// it takes the room of others: it asks for as long as an unfinished action is kept there.
func (l *lanes) look(now time.Time) {
	for _, a := range l.all {
		if a.running == 0 || now.Sub(a.begun) < slow {
			continue
		}
		if !a.held {
			a.held = true
			l.busy--
			l.open -= a.running + len(a.waiting)
		}
		if len(l.e.c.slots) < cap(l.e.c.slots) {
			continue
		}
		for _, f := range a.waiting {
			l.e.c.back(f, step.Outcome{Later: l.e.c.Linger, Note: "what was asked before it on its lane has not ended"})
		}
		a.waiting = nil
	}
}

package controller

import (
	"context"
	"sync"
	"time"
)

// lanes sorts the flights of an action whose tasks can wait for one another. Each lane is given its batches one after the other, and
// none waits for another lane's.
type lanes struct {
	e       *executor
	workers *sync.WaitGroup
	waiting map[string][]*flight // by lane; a lane with a run under way is there even when none waits
	running map[string]int       // by lane: how many flights its run has
	open    int                  // flights that wait or are run
	ended   chan string          // lanes whose run has ended
}

func newLanes(e *executor, workers *sync.WaitGroup) *lanes {
	return &lanes{e: e, workers: workers, waiting: map[string][]*flight{}, running: map[string]int{}, ended: make(chan string)}
}

// sort works until ctx ends.
func (l *lanes) sort(ctx context.Context) {
	for {
		select {
		case <-l.e.queue.signal:
			l.add(ctx, l.e.queue.take(l.e.action.Batch))
		case lane := <-l.ended:
			l.open -= l.running[lane]
			delete(l.running, lane)
			l.run(ctx, lane)
		case <-ctx.Done():
			return
		}
	}
}

// add has flights wait in their lanes, and begins a run where none is under way.
func (l *lanes) add(ctx context.Context, batch []*flight) {
	l.open += len(batch)
	var idle []string
	for _, f := range batch {
		lane := l.e.action.Lane(f.task(time.Time{}, nil))
		if l.waiting[lane] == nil {
			idle = append(idle, lane)
		}
		l.waiting[lane] = append(l.waiting[lane], f)
	}
	for _, lane := range idle {
		l.run(ctx, lane)
	}
}

// run begins the next run of a lane; one for which nothing waits is forgotten.
func (l *lanes) run(ctx context.Context, lane string) {
	n := min(len(l.waiting[lane]), l.e.action.Batch)
	if n == 0 {
		delete(l.waiting, lane)
		return
	}
	batch, open := l.waiting[lane][:n:n], l.open
	l.waiting[lane], l.running[lane] = append([]*flight{}, l.waiting[lane][n:]...), n
	l.workers.Go(func() {
		l.e.work(ctx, batch, open)
		select {
		case l.ended <- lane:
		case <-ctx.Done():
		}
	})
}

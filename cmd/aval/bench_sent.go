package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/message"
)

// toSent is how long it took from the moment at which the client submitted a message until its transaction was given to the node.
type toSent struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// latency measures toSent. Its zero value is ready.
type latency struct {
	mu    sync.Mutex
	begun map[message.ID]time.Time
	spent []time.Duration
}

func (l *latency) submitted(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun == nil {
		l.begun = map[message.ID]time.Time{}
	}
	l.begun[message.ID(id)] = time.Now()
}

// acted is told of each action that has succeeded.
func (l *latency) acted(id message.ID, action string) {
	if action != "send" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if begun, mine := l.begun[id]; mine {
		l.spent = append(l.spent, time.Since(begun))
		delete(l.begun, id)
	}
}

// figures are nil where nothing was sent.
func (l *latency) figures() *toSent {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spent) == 0 {
		return nil
	}
	slices.Sort(l.spent)
	return &toSent{P50: quantile(l.spent, 0.5), P99: quantile(l.spent, 0.99)}
}

func printSent(out io.Writer, runs []figures) {
	for _, f := range runs {
		if f.Sent != nil {
			_, _ = fmt.Fprintf(out, "from submission to sent: median %.2f ms, p99 %.2f ms\n", f.Sent.P50, f.Sent.P99)
		}
	}
}

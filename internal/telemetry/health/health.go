// Package health answers whether a process is alive and whether it is ready for work.
//
// A liveness check fails when only a restart helps (a loop that stands still); a readiness check fails while the process
// should get no work (an unreachable chain, a disk that refuses writes). Readiness includes liveness. Results are cached, so
// that probing costs the checked systems nothing, and a check that hangs is a failed check and is not started a second time.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Result is what one check last said.
type Result struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"` // what the person on call reads
	Note  string    `json:"note,omitempty"`  // the same, where nothing has failed
	Since time.Time `json:"since,omitzero"`  // when it began to say so
}

// Report is the sum of the checks: OK when each is.
type Report struct {
	OK     bool     `json:"ok"`
	Checks []Result `json:"checks"`
}

// Checks is a set of named checks. Add all before the first question.
type Checks struct {
	fresh, limit time.Duration
	live, ready  []*check
	notes        map[string]func() string
}

type check struct {
	name string
	run  func(context.Context) error

	mu      sync.Mutex
	result  Result
	checked time.Time     // when result was found; zero before the first time
	running chan struct{} // closed when the run under way ends; nil when there is none
}

// New makes a set of checks: a result is good for the time fresh, and a check that takes longer than limit has failed.
func New(fresh, limit time.Duration) *Checks { return &Checks{fresh: fresh, limit: limit} }

// Live adds a liveness check.
func (c *Checks) Live(name string, run func(context.Context) error) {
	c.live = append(c.live, &check{name: name, run: run})
}

// Ready adds a readiness check.
func (c *Checks) Ready(name string, run func(context.Context) error) {
	c.ready = append(c.ready, &check{name: name, run: run})
}

// Note adds a line to the readiness report, where note gives one. It fails nothing: the process goes on working while
// something beside it does not. note answers at once.
func (c *Checks) Note(name string, note func() string) {
	if c.notes == nil {
		c.notes = map[string]func() string{}
	}
	c.notes[name] = note
}

// Liveness reports the liveness checks.
func (c *Checks) Liveness() Report { return c.report(c.live) }

// Readiness reports all checks, and what there is to note.
func (c *Checks) Readiness() Report {
	report := c.report(append(append([]*check(nil), c.live...), c.ready...))
	for _, name := range slices.Sorted(maps.Keys(c.notes)) {
		if note := c.notes[name](); note != "" {
			report.Checks = append(report.Checks, Result{Name: name, OK: true, Note: note})
		}
	}
	return report
}

func (c *Checks) report(checks []*check) Report {
	report := Report{OK: true, Checks: make([]Result, len(checks))}
	var wait sync.WaitGroup
	for i, one := range checks {
		wait.Go(func() { report.Checks[i] = one.ask(c.fresh, c.limit) })
	}
	wait.Wait()
	for _, result := range report.Checks {
		report.OK = report.OK && result.OK
	}
	return report
}

// ask gives the cached result while it is fresh; otherwise it waits for a run, its own or the one under way, up to the limit.
func (c *check) ask(fresh, limit time.Duration) Result {
	c.mu.Lock()
	if !c.checked.IsZero() && time.Since(c.checked) < fresh {
		defer c.mu.Unlock()
		return c.result
	}
	if c.running == nil {
		c.running = make(chan struct{})
		go c.start(limit)
	}
	running := c.running
	c.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-running:
	case <-timer.C:
		c.found(fmt.Errorf("gave no answer within %s", limit))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}

func (c *check) start(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.found(c.guarded(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.running)
	c.running = nil
}

func (c *check) guarded(ctx context.Context) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("panic: %v", value)
		}
	}()
	return c.run(ctx)
}

func (c *check) found(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	result := Result{Name: c.name, OK: err == nil, Since: c.result.Since}
	if err != nil {
		result.Error = err.Error()
	}
	if c.checked.IsZero() || result.OK != c.result.OK {
		result.Since = now
	}
	c.result, c.checked = result, now
}

// Handler serves a report as JSON: 200 when all is well, 503 when not.
func Handler(report func() Report) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := report()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !now.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(now) // the prober has gone when this fails
	})
}

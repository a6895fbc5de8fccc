// Package fault names the places where a crash or a failed write matters, so that tests can strike exactly there.
//
// A *Points is handed down from cmd or a test; nil (production) makes every Hit a no-op. A rule is armed on a point's
// name with what should happen at its nth hit. The names are listed where they are hit; each durable write has
// "<write>.before" and "<write>.after", each send "<send>.before" and "<send>.after".
package fault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ErrInjected is what a point armed with Fail returns.
var ErrInjected = errors.New("injected fault")

// Strike is what happens at a point.
type Strike string

// The strikes.
const (
	Kill Strike = "kill" // SIGKILL to the own process: nothing is flushed, nothing deferred
	Fail Strike = "fail" // Hit returns ErrInjected
	Stop Strike = "stop" // SIGSTOP to the own process: nothing runs until somebody continues it, then it goes on as if no time had passed
)

type rule struct {
	strike Strike
	left   int // hits still to let pass
}

// Points holds the armed rules. The nil *Points has none.
type Points struct {
	mu    sync.Mutex
	rules map[string]*rule
	hits  map[string]int
}

// New has no rule armed.
func New() *Points { return &Points{rules: map[string]*rule{}, hits: map[string]int{}} }

// Parse reads "point=strike@n,…", for example "guarantee.commit.before=kill@3"; @n defaults to 1.
func Parse(spec string) (*Points, error) {
	p := New()
	for _, part := range strings.Split(spec, ",") {
		name, what, ok := strings.Cut(part, "=")
		strike, nth, counted := strings.Cut(what, "@")
		n, err := 1, error(nil)
		if counted {
			n, err = strconv.Atoi(nth)
		}
		if !ok || err != nil || n < 1 || (Strike(strike) != Kill && Strike(strike) != Fail && Strike(strike) != Stop) {
			return nil, fmt.Errorf("fault rule %q: want point=kill@n, point=fail@n or point=stop@n", part)
		}
		p.Arm(name, Strike(strike), n)
	}
	return p, nil
}

// Arm strikes at the nth hit of the point from now on, once.
func (p *Points) Arm(point string, strike Strike, nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[point] = &rule{strike: strike, left: nth}
}

// Hit passes the point.
func (p *Points) Hit(point string) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits[point]++
	r := p.rules[point]
	if r == nil {
		return nil
	}
	if r.left--; r.left > 0 {
		return nil
	}
	delete(p.rules, point)
	switch r.strike {
	case Kill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way; nothing more may run here
	case Stop:
		return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	default:
	}
	return fmt.Errorf("at %s: %w", point, ErrInjected)
}

// Hits counts how often each point was passed, for tests that list the points.
func (p *Points) Hits() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[string]int, len(p.hits))
	for name, n := range p.hits {
		seen[name] = n
	}
	return seen
}

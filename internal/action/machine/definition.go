package machine

import (
	"slices"
	"time"
)

// Type of a state.
type Type string

// The types.
const (
	Task    Type = "Task"
	Choice  Type = "Choice"
	Pass    Type = "Pass"
	Wait    Type = "Wait"
	Succeed Type = "Succeed"
	Fail    Type = "Fail"

	Parallel Type = "Parallel"
	Map      Type = "Map"
)

// Definition is a loaded workflow: immutable, safe for concurrent use.
type Definition struct {
	Name    string // "transfer.v1"
	Hash    string // of the source, 16 hex digits
	Comment string
	StartAt string
	States  map[string]*State
	Source  []byte        // as it was loaded
	Timeout time.Duration // from a message's acceptance to its end; 0: none
}

// Ref names the definition for good: name and content hash.
func (d *Definition) Ref() string { return d.Name + "@" + d.Hash }

// Start is the place of a new message.
func (d *Definition) Start() Place { return Place{State: d.StartAt} }

// State of a workflow. Fields are set by type as the language says.
type State struct {
	Name      string
	Type      Type
	Comment   string
	Next      string
	End       bool
	Resource  string // Task: as it is written
	Action    string // Task: the action's name, which is the Resource without ".waitForTaskToken"
	Called    bool   // Task: waits until its token is answered
	Effect    bool   // Task: the action touches the outside, or has a token to hand out
	Timeout   time.Duration
	Heartbeat time.Duration // Task: how often its action, or who has its token, must be heard of; 0: need not
	Retry     []Retrier
	Catch     []Catcher
	Branches  []*States // Parallel: its branches; Map: what is done with each item
	limits    limits    // Map
	items     *template // Map of the CEL language
	selector  *template // its ItemSelector
	Choices   []Rule
	Default   string
	arguments *template
	output    *template
	assign    *template
	seconds   *template
	timestamp *template
	err       *template
	cause     *template
	flow      *flow // of the JSONPath language; nil in the CEL language

	timeout   *template // TimeoutSeconds as an expression, of the CEL language
	heartbeat *template // HeartbeatSeconds as an expression
}

// States are the states of a branch, of which one is the first.
type States struct {
	StartAt string
	States  map[string]*State
}

// limits of a Map. Tolerated is false when no failure is.
type limits struct {
	concurrency int // 0: none
	count       int
	percentage  float64
	tolerant    bool
}

// forks tells whether the state has branches.
func (st *State) forks() bool { return st.Type == Parallel || st.Type == Map }

// Retrier says when and how often a failed Task is tried again.
type Retrier struct {
	Errors   []string
	Interval time.Duration // 1 s where not given
	Max      int           // attempts beyond the first; 3 where not given
	Backoff  float64       // 2 where not given
	MaxDelay time.Duration // 0: none
	Jitter   bool          // JitterStrategy FULL
}

// Catcher says where a failed Task goes on.
type Catcher struct {
	Errors []string
	Next   string
	assign *template
	output *template
	paths  *payload  // Assign of the JSONPath language
	target selection // its ResultPath
}

// Rule is one choice.
type Rule struct {
	Next      string
	condition *template
	assign    *template
	output    *template
	test      *condition // of the JSONPath language
	paths     *payload   // its Assign
}

// matches tells whether an error name is among names. States.ALL does not catch what the language says cannot be caught:
// States.Runtime, and data over the limit (own) except where it is what a Task answered.
func matches(names []string, name string, own bool) bool {
	switch {
	case slices.Contains(names, name):
		return true
	case name == ErrRuntime || own && name == ErrDataLimit:
		return false
	case slices.Contains(names, ErrAll):
		return true
	case name == ErrHeartbeat && slices.Contains(names, ErrTimeout):
		return true
	}
	return name != ErrTimeout && name != ErrHeartbeat && slices.Contains(names, ErrTask)
}

// delay before the nth retry, n from 0.
func (r Retrier) delay(n int, random float64) time.Duration {
	d := float64(r.Interval)
	for range n {
		d *= r.Backoff
		if r.MaxDelay > 0 && d >= float64(r.MaxDelay) {
			break
		}
	}
	if r.MaxDelay > 0 {
		d = min(d, float64(r.MaxDelay))
	}
	if r.Jitter {
		d *= random
	}
	return time.Duration(min(d, float64(31*24*time.Hour)))
}

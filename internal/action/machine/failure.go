package machine

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"
)

// failed applies the state's Retry and Catch to an error.
func (m *mover) failed(st *State, name, cause string) {
	m.run, m.wait = nil, time.Time{}
	m.place.Call = 0 // this attempt is over: an answer to it comes too late
	if m.place.Phase == Called {
		m.place.Phase = Running
	}
	if m.place.Fork != nil {
		m.abandon()
		m.drew = true // branches may have drawn
	}
	if m.retry(st, name, cause) || m.caught(st, name, cause) {
		return
	}
	m.fail(name, cause)
}

// fail ends the workflow with an error that nothing caught.
func (m *mover) fail(name, cause string) {
	m.visit(m.place.State, "failed", name+": "+cause)
	m.done = &Done{Uncaught: true, Error: name, Cause: cause}
}

// names tells whether a Retry or Catch of the state is for the error. Every failure of a Parallel is States.BranchFailed too.
func (m *mover) names(st *State, errors []string, name string) bool {
	return matches(errors, name, !m.theirs) || st.Type == Parallel && slices.Contains(errors, ErrBranch)
}

func (m *mover) retry(st *State, name, cause string) bool {
	for i, r := range st.Retry {
		if !m.names(st, r.Errors, name) {
			continue
		}
		spent := make([]int, len(st.Retry)) // never the stored slice: a Move changes no input
		copy(spent, m.place.Spent)
		if spent[i] >= r.Max {
			return false
		}
		until := m.env.Now.Add(r.delay(spent[i], m.random()))
		spent[i]++
		m.place.Spent, m.place.Attempt, m.place.Phase, m.place.Until = spent, m.place.Attempt+1, Retry, until.UnixMicro()
		m.wait = until
		m.visit(st.Name, "retry", fmt.Sprintf("%s: %s; attempt %d of %d at %s", name, cause, spent[i]+1, r.Max+1, until.UTC().Format(time.RFC3339Nano)))
		return true
	}
	return false
}

// random is the number in [0, 1) that spreads retries: each branch has its own.
func (m *mover) random() float64 {
	if m.prefix == "" {
		return m.env.Random
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.prefix)) // a hash takes everything
	_, random := math.Modf(m.env.Random + float64(h.Sum64()>>11)/(1<<53))
	return random
}

// errorOutput is what a Catch sees as states.errorOutput.
type errorOutput struct {
	Error   string          `json:"Error"`
	Cause   string          `json:"Cause"`
	Details json.RawMessage `json:"Details,omitempty"` // of an action's failure
}

func (m *mover) caught(st *State, name, cause string) bool {
	for _, c := range st.Catch {
		if !m.names(st, c.Errors, name) {
			continue
		}
		if st.flow != nil {
			m.caughtPath(st, &c, name, cause)
			return true
		}
		out, err := json.Marshal(errorOutput{name, cause, m.details})
		if err != nil {
			return false
		}
		sc := m.scope()
		sc.failure = out
		catching := *st // an error inside the Catch itself is not caught again
		catching.Catch, catching.Retry = nil, nil
		if m.proceed(&catching, sc, c.assign, c.output, out) {
			m.visit(st.Name, "caught", name+": "+cause)
			m.advance(c.Next, false)
		}
		return true
	}
	return false
}

package machine

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// waitForToken is what a Resource ends with whose Task waits until its token is answered.
const waitForToken = ".waitForTaskToken"

// patience is how long an answer is waited for where no TimeoutSeconds says: the longest that the language can say.
const patience = maxSeconds * time.Second

// token of the Task where the message stands; empty where it has none. A Task that another service runs to its end (.sync)
// has an identifier in its place, which nobody can answer.
func (m *mover) token(st *State) string {
	switch {
	case st.Type != Task:
		return ""
	case st.Called && m.place.Call > 0 && m.env.Token != nil:
		return m.env.Token(m.prefix+st.Name, m.place.Call)
	case strings.Contains(st.Resource, ".sync"):
		drew := m.drew
		id := (&view{m: m, purpose: "token"}).Draw()
		m.drew = drew // the same one each time the state asks for it
		return base64.RawURLEncoding.EncodeToString(id[:])
	}
	return ""
}

// reply is what came in for the call of the Task where the message stands.
func (m *mover) reply() Reply {
	if m.place.Call == 0 {
		return Reply{}
	}
	return m.env.Replies[m.place.Call]
}

// replied ends a Task with the answer to its token, whatever its action came to or is still about.
func (m *mover) replied(st *State, r Reply) {
	m.visit(st.Name, "answered", by(r.By))
	switch e := r.Answer; {
	case e.Kind == Failed:
		m.theirs = true
		m.failed(st, e.Error, e.Cause)
	case st.flow != nil:
		m.answered(st, e.Output, "succeeded")
	default:
		m.leave(st, e.Output, "succeeded")
	}
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return "by " + who
}

// await begins to wait for the answer. That it may be overdue already is found when what came in meanwhile has been read.
func (m *mover) await(st *State) {
	m.place.Phase = Called
	m.wait = m.overdueAt(st)
	m.visit(st.Name, "waiting", "for an answer to its task token, until "+m.wait.UTC().Format(time.RFC3339))
}

// called waits on for the answer, or fails the Task that was not heard of in time.
func (m *mover) called(st *State) {
	end, heard := m.answerBy(st), m.heardBy(st)
	switch {
	case !heard.IsZero() && heard.Before(end) && !m.env.Now.Before(heard):
		m.failed(st, ErrHeartbeat, fmt.Sprintf("nothing was heard of %s for %s, while its answer was waited for", st.Name, m.heartbeat(st)))
	case !m.env.Now.Before(end):
		m.failed(st, ErrTimeout, fmt.Sprintf("the task token of %s was not answered within %s", st.Name, end.Sub(time.UnixMicro(m.place.Entered))))
	default:
		m.wait = m.overdueAt(st)
	}
}

// overdueAt is when the Task fails if nothing more is heard of it.
func (m *mover) overdueAt(st *State) time.Time {
	end, heard := m.answerBy(st), m.heardBy(st)
	if !heard.IsZero() && heard.Before(end) {
		return heard
	}
	return end
}

func (m *mover) answerBy(st *State) time.Time {
	timeout := m.timeout(st)
	if timeout == 0 {
		timeout = patience
	}
	return time.UnixMicro(m.place.Entered).Add(timeout)
}

// heardBy is when the next heartbeat is due; zero: none is.
func (m *mover) heardBy(st *State) time.Time {
	every := m.heartbeat(st)
	if every == 0 {
		return time.Time{}
	}
	last := time.UnixMicro(m.place.Entered)
	if beat := m.reply().Beat; beat.After(last) {
		last = beat
	}
	return last.Add(every)
}

// heartbeat of the state's attempt; 0: none.
func (m *mover) heartbeat(st *State) time.Duration {
	if m.place.Pulse > 0 {
		return time.Duration(m.place.Pulse) * time.Second
	}
	return st.Heartbeat
}

// computedSeconds evaluates a number of seconds that is written as an expression.
func (m *mover) computedSeconds(st *State, sc *scope, t *template, field string, into *int64) bool {
	if t == nil {
		return true
	}
	raw, ok := m.evaluate(st, t, sc)
	if !ok {
		return false
	}
	if err := json.Unmarshal(raw, into); err != nil || *into < 1 || *into > maxSeconds {
		*into = 0
		m.failed(st, ErrQuery, fmt.Sprintf("%s of %s is not a whole number from 1 to %d", field, st.Name, maxSeconds))
		return false
	}
	return true
}

// calls compares the calls that were open with those that are.
func (d *Definition) calls(move *Move, before *Place) {
	if move.Place.Calls == 0 {
		return // none ever was
	}
	old, now := map[int]Call{}, map[int]Call{}
	d.open(old, d.States, before, "")
	if move.Done == nil || move.Done.Uncaught { // what failed uncaught stays where it is
		d.open(now, d.States, &move.Place, "")
	}
	for number, call := range now {
		if _, there := old[number]; !there {
			move.Opened = append(move.Opened, call)
		}
	}
	for number := range old {
		if _, there := now[number]; !there {
			move.Closed = append(move.Closed, number)
		}
	}
	slices.SortFunc(move.Opened, func(a, b Call) int { return a.Number - b.Number })
	slices.Sort(move.Closed)
	move.Open = len(now)
}

// open gathers the open calls of a place and of its branches.
func (d *Definition) open(into map[int]Call, states map[string]*State, p *Place, prefix string) {
	st := states[p.State]
	if st == nil {
		return
	}
	if p.Call > 0 {
		m := mover{place: *p}
		into[p.Call] = Call{Number: p.Call, State: prefix + st.Name, Until: m.answerBy(st), Heartbeat: m.heartbeat(st)}
	}
	if p.Fork == nil || !p.Fork.fits(st) {
		return
	}
	for _, i := range p.Fork.active {
		d.open(into, st.branch(i).States, p.Fork.branches.at(i).place, prefix+st.Name+"/"+strconv.Itoa(i)+"/")
	}
}

// Abandoned lists the calls of a place that another one, made of it by Restart or Replay, has no more.
func (d *Definition) Abandoned(before, after Place) []int {
	move := Move{Place: after}
	d.calls(&move, &before)
	return move.Closed
}

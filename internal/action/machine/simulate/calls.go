package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
)

// arrival is what comes in for a call at a time.
type arrival struct {
	at   time.Time
	call int
	beat bool
	with machine.Event
}

// token names a call. Nobody can answer it: what is mocked is the answer.
func (e *execution) token(state string, call int) string {
	return fmt.Sprintf("%s:%s:%s:%d", simulated, e.def.Name, state, call)
}

// come lets a Task come to its outcome: at once or, by the virtual clock, later.
func (e *execution) come(a asked, o Outcome) machine.Event {
	r := a.run
	if r.Call == 0 {
		return e.finish(a, o)
	}
	for _, beat := range o.Heartbeats {
		e.coming = append(e.coming, arrival{at: a.at.Add(seconds(beat)), call: r.Call, beat: true})
	}
	if !o.Never {
		e.coming = append(e.coming, arrival{at: a.at.Add(seconds(o.After)), call: r.Call, with: o.Event()})
	}
	e.arrive()
	return machine.Event{Kind: machine.Succeeded, Output: []byte("{}")}
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// arrive takes in what has come by now.
func (e *execution) arrive() {
	e.coming = slices.DeleteFunc(e.coming, func(a arrival) bool {
		if a.at.After(e.now) {
			return false
		}
		r := e.replies[a.call]
		if a.beat {
			r.Beat = a.at
		} else {
			r.Answer = &a.with
		}
		e.replies[a.call], e.heard = r, true
		return true
	})
}

// wait turns the clock to a time, or to when something comes in before.
func (e *execution) wait(until time.Time) {
	for _, a := range e.coming {
		if a.at.Before(until) {
			until = a.at
		}
	}
	if until.After(e.now) {
		e.now = until
	}
	e.arrive()
}

// finish is how an action ends that takes its time: within its limits, or cut off at the first that it missed.
func (e *execution) finish(a asked, o Outcome) machine.Event {
	r := a.run
	end, late := a.at.Add(seconds(o.After)), ""
	if o.Never {
		end = e.now.AddDate(10, 0, 0)
	}
	if r.Heartbeat > 0 {
		last := a.at
		for _, beat := range append(slices.Clone(o.Heartbeats), int64(end.Sub(a.at)/time.Second)) {
			at := a.at.Add(seconds(beat))
			if at.Sub(last) > r.Heartbeat {
				end, late = last.Add(r.Heartbeat), machine.ErrHeartbeat
				break
			}
			last = at
		}
	}
	if !r.Deadline.IsZero() && end.After(r.Deadline) {
		end, late = r.Deadline, machine.ErrTimeout
	}
	if end.After(e.now) {
		e.now = end
	}
	e.arrive()
	if late != "" {
		return machine.Event{Kind: machine.Failed, Error: late, Cause: "the mocked action was not finished in its time"}
	}
	return o.Event()
}

package controller

import (
	"cmp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/problem"
)

// flight is one action that was asked for, until it has answered. A message with branches has several at once, each with the
// effect key that its state's name is (I5).
type flight struct {
	w         *work
	rec       guarantee.Record // the message as it was when the action was asked for
	run       machine.Run
	began     time.Time   // when it was asked for the first time in hand
	again     time.Time   // when an unfinished action is to be asked again; zero: it is being asked
	note      string      // of its last outcome
	abandoned atomic.Bool // its answer does not count any more
	nudged    bool        // what it waits for may have happened since it was asked
	next      *flight     // the same state was asked for again meanwhile: it begins when this one has ended
}

// lingers tells whether the message is kept in hand for the sake of an unfinished action. It is not kept for longer, however
// late it wants to be asked again: what is in hand is beyond an operator's reach.
func (f *flight) lingers(c *Controller) bool {
	return f.run.Effect && f.again.Sub(f.began) < c.Linger && !c.stopping.Load()
}

// The longest that an unfinished action is left alone, unless it asks for more.
const rest = 5 * time.Minute

// askAgain is when an unfinished action is asked again: when it wants to be, and the later the longer it takes, so that what
// is stuck costs little. It is noticed a tenth too late at the most, and never later than its deadline.
func askAgain(run *machine.Run, later time.Duration, now time.Time) time.Time {
	at := now.Add(max(later, min(now.Sub(run.Since)/10, rest)))
	if d := run.Deadline; !d.IsZero() && d.After(now) && at.After(d) {
		return d
	}
	return at
}

// news tells whether what an unfinished action says is to be stored again. So the history tells of a long wait as it is now, and
// grows by a few entries and later by one an hour.
func (w *work) news(f *flight, now time.Time) bool {
	half := now.Sub(f.run.Since) / 2
	return f.note != "" && now.Sub(w.rec.Updated) >= min(max(half, time.Minute), time.Hour)
}

// arrival is something that has happened to a message in hand.
type arrival struct {
	flight  *flight // nil: a time has come
	event   machine.Event
	outcome step.Outcome // of the flight
	nudged  string       // instead of all else: the action to be asked again
}

// hangar are the flights of one message that are out, and what has come back from them. Turns and executors meet here.
type hangar struct {
	mu      sync.Mutex
	arrived []arrival
	out     int  // flights that have not come back
	busy    bool // the message is ready for a turn, or in one
	gone    bool // it is out of hand: who comes back is not waited for, but for settling the claim
	timer   *time.Timer
}

// deliver hands something that has happened to the message's next turn. It tells whether the message is still in hand.
func (c *Controller) deliver(w *work, a arrival) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return false
	}
	w.arrived = append(w.arrived, a)
	if !w.busy {
		w.busy = true
		c.ready <- w // has room for every message in hand, and each is there once
	}
	return true
}

// back takes a flight that has come back, with its outcome; what was abandoned before it began has none.
func (c *Controller) back(f *flight, outcome step.Outcome) {
	f.w.mu.Lock()
	f.w.out--
	last := f.w.gone && f.w.out == 0
	f.w.mu.Unlock()
	if last {
		c.settle(ids([]*work{f.w}))
		return
	}
	c.deliver(f.w, f.arrival(outcome))
}

// arrivals are taken by the turn.
func (w *work) arrivals() []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.arrived
	w.arrived = nil
	return list
}

// leave takes a message out of hand. It tells whether its claim can be settled at once: while an action of it is still running
// nobody else may ask for the same (I5); and which action was nudged since its last turn.
func (w *work) leave() (settled bool, nudged string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.arrived {
		nudged = cmp.Or(nudged, a.nudged)
	}
	w.gone, w.arrived = true, nil
	if w.timer != nil {
		w.timer.Stop()
	}
	for _, f := range w.flights {
		f.abandoned.Store(true)
	}
	return w.out == 0, nudged
}

// launch begins the flights that the turn has decided on, sets the clock, and lets the message have its next turn when there
// is something for it.
func (c *Controller) launch(w *work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.begin {
		w.out++
		f.rec, f.nudged = w.rec, false
		c.dispatch(f)
	}
	w.begin = nil
	c.setClock(w)
	if w.busy = len(w.arrived) > 0 || len(w.inline) > 0; w.busy {
		c.ready <- w
	}
}

// listen is how often it is looked whether a task token was answered, while actions of the message are running.
const listen = time.Second

// setClock has the earliest time that a branch waits for delivered while others are at work.
func (c *Controller) setClock(w *work) {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	next, now := w.wait, c.Now()
	for _, f := range w.flights {
		next = earlier(next, f.again)
	}
	if w.awaits {
		next = earlier(next, now.Add(listen))
	}
	if !next.IsZero() {
		w.timer = time.AfterFunc(max(next.Sub(now), 0), func() { c.deliver(w, arrival{event: machine.Event{Kind: machine.Due}}) })
	}
}

// earlier of two times, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// wake begins the flights that wanted to be asked again by now.
func (w *work) wake(now time.Time) {
	for _, f := range w.flights {
		if !f.again.IsZero() && !f.again.After(now) {
			f.again = time.Time{}
			w.begin = append(w.begin, f)
		}
	}
}

// dispatch hands a flight to the executor of its action.
func (c *Controller) dispatch(f *flight) {
	e := c.executors[f.run.Action]
	if e == nil { // a definition that was loaded when the action was another one
		go c.back(f, step.Outcome{Err: problem.New(problem.Internal, "action-unknown", "the action %s is not registered", f.run.Action)})
		return
	}
	e.queue.push(f)
}

// abandon gives up the flights of the states whose names begin so.
func (w *work) abandon(way string) {
	for state, f := range w.flights {
		if !strings.HasPrefix(state, way) {
			continue
		}
		f.next = nil
		f.abandoned.Store(true)
		if !f.again.IsZero() {
			delete(w.flights, state)
		}
	}
	kept := w.begin[:0]
	for _, f := range w.begin {
		if f.abandoned.Load() {
			delete(w.flights, f.run.State)
			continue
		}
		kept = append(kept, f)
	}
	w.begin = kept
}

// ask makes a flight of a Run; where one of the same state is still out, after that.
func (w *work) ask(run machine.Run, now time.Time) {
	f := &flight{w: w, run: run, began: now}
	if before := w.flights[run.State]; before != nil && before.again.IsZero() {
		before.abandoned.Store(true)
		before.next = f
		return
	}
	w.flights[run.State] = f
	w.begin = append(w.begin, f)
}

// task is the flight as its action sees it.
func (f *flight) task(now time.Time, beat func()) step.Task {
	return step.Task{
		Overdue: f.run.Withdraws && !now.Before(f.run.Deadline),
		Record:  &f.rec, State: f.run.State, Arguments: f.run.Arguments, Attempt: f.run.Attempt, Resumed: f.run.Resumed, Begun: f.run.Begun,
		Call: f.run.Call, Token: f.run.Token, Beat: beat,
	}
}

// queue holds flights for an executor. It is bounded by what is in hand: pushing never blocks.
type queue struct {
	mu     sync.Mutex
	list   []*flight
	signal chan struct{}
}

func newQueue() *queue { return &queue{signal: make(chan struct{}, 1)} }

func (q *queue) push(f *flight) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, f)
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take gives the first flights, up to n.
func (q *queue) take(n int) []*flight {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.list))
	batch := append([]*flight(nil), q.list[:n]...)
	clear(q.list[:n])
	if q.list = q.list[n:]; len(q.list) > 0 {
		q.wake()
	} else {
		q.list = nil
	}
	return batch
}

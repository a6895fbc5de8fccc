// Package controller is the loop of the action domain: claim, load, decide, commit, run.
//
// It is stateless: what it has in hand is in Guarantee too, and another process goes on from there. Claimed messages flow
// through two stages. A turn takes every message that is ready, asks the machine for its next Move (steps without an
// outside effect are chained in it), and commits all their transitions together. An executor, one for each action with an
// outside effect or a token to hand out, then runs what was committed as intent, in batches and in parallel, and hands the
// messages back to the next turn with the outcome. So a slow action holds up nobody else, and under load the commits grow instead
// of waiting.
//
// A message with branches has several actions at work at once, each a flight; what comes back while a commit is under way goes
// into its next turn together. The times that branches wait for are met in hand meanwhile. While an action of a message runs,
// abandoned or not, its claim is kept, and the same effect is not asked for again (I5).
//
// A message leaves the controller, its claim settled, when it has to wait for longer, is parked, or has ended. An error that
// no Catch foresees parks it, with the reason (I18).
package controller

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/tasktoken"
)

// Workflows finds the definition that a message is pinned to.
type Workflows interface {
	Find(ctx context.Context, ref string) (*machine.Definition, error)
}

// Observer is told what happens, for metrics and traces. Each func may be nil.
type Observer struct {
	Step      func(id message.ID, state, action, outcome string, begun time.Time, took time.Duration)
	Committed func(transitions int, took time.Duration)
	Parked    func(id message.ID, reason string)
	Ended     func(rec *guarantee.Record)
}

// Config of a Controller. Zero values get the defaults given.
type Config struct {
	Name     string        // in the history, as who did it; "controller"
	InFlight int           // most messages in hand; 1024
	Turns    int           // turns at once; 2
	Batch    int           // most messages a turn; 256
	Timeout  time.Duration // of an action whose state gives none; 60 s
	Linger   time.Duration // how long an unfinished action is asked again in hand before the message waits in Guarantee; 10 s
	Drain    time.Duration // how long running actions may take to finish when stopping; 5 s
	Now      func() time.Time
	Nudges   feeder.Nudges    // how other processes are told; nil: only what is in hand is nudged
	Calls    guarantee.Calls  // what comes in for Tasks that wait for an answer to their token; nil: none does
	Tokens   *tasktoken.Maker // makes task tokens; nil: none are given out, and Tasks that need one fail
	Faults   *fault.Points
	Log      *slog.Logger
	Observe  Observer
}

// Controller drives messages through their workflows.
type Controller struct {
	Config
	store     guarantee.Store
	feeder    feeder.Feeder
	workflows Workflows
	actions   *step.Registry
	ready     chan *work
	slots     chan struct{}
	executors map[string]*executor
	inHand    atomic.Int64
	hand      sync.Map // *work by message.ID: what can be nudged
	others    nudges
	stopping  atomic.Bool
}

// New makes a Controller. Run has to be started.
func New(store guarantee.Store, queue feeder.Feeder, workflows Workflows, actions *step.Registry, config Config) *Controller {
	c := &Controller{Config: withDefaults(config), store: store, feeder: queue, workflows: workflows, actions: actions}
	c.ready = make(chan *work, c.InFlight)
	c.slots = make(chan struct{}, c.InFlight)
	c.others.ids, c.others.signal = map[string][]message.ID{}, make(chan struct{}, 1)
	c.executors = map[string]*executor{}
	for _, name := range actions.Names() {
		if action, err := actions.Get(name); err == nil {
			c.executors[name] = newExecutor(c, action)
		}
	}
	return c
}

func withDefaults(c Config) Config {
	setDefault(&c.Name, "controller")
	setDefault(&c.InFlight, 1024)
	setDefault(&c.Turns, 2)
	setDefault(&c.Batch, 256)
	setDefault(&c.Timeout, time.Minute)
	setDefault(&c.Linger, 10*time.Second)
	setDefault(&c.Drain, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// InHand is the number of messages being worked on.
func (c *Controller) InHand() int { return int(c.inHand.Load()) }

// Run works until ctx ends, then lets what is running finish for at most Drain. What is cut off is found in Guarantee.
func (c *Controller) Run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var workers sync.WaitGroup
	for range c.Turns {
		workers.Go(func() { c.turns(working) })
	}
	workers.Go(func() { _ = c.Tell(working) }) // gives no error
	workers.Go(func() { c.listen(working) })
	for _, e := range c.executors {
		e.start(working, &workers)
	}
	c.claims(ctx)
	c.stopping.Store(true)
	c.drain()
	stop()
	workers.Wait()
	return nil
}

// drain waits for all slots to come back.
func (c *Controller) drain() {
	deadline := time.NewTimer(c.Drain)
	defer deadline.Stop()
	for range c.InFlight {
		select {
		case c.slots <- struct{}{}:
		case <-deadline.C:
			return
		}
	}
}

// claims feeds the turns: as many messages as there are free slots.
func (c *Controller) claims(ctx context.Context) {
	for ctx.Err() == nil {
		free := c.reserve(ctx)
		if free == 0 {
			return
		}
		ids, err := c.feeder.Claim(ctx, free)
		c.release(free - len(ids))
		if err != nil {
			c.trouble(ctx, "claim due messages", err)
			continue
		}
		c.inHand.Add(int64(len(ids)))
		recs, err := c.store.Load(ctx, ids)
		if err != nil {
			c.settle(ids)
			c.trouble(ctx, "load due messages", err)
			continue
		}
		c.accept(ctx, ids, recs)
	}
}

// reserve waits for one free slot and takes all there are.
func (c *Controller) reserve(ctx context.Context) (free int) {
	select {
	case c.slots <- struct{}{}:
		free = 1
	case <-ctx.Done():
		return 0
	}
	for free < c.Batch {
		select {
		case c.slots <- struct{}{}:
			free++
		default:
			return free
		}
	}
	return free
}

func (c *Controller) release(n int) {
	for range n {
		<-c.slots
	}
}

// accept takes loaded messages in hand. It settles the ids that are live no more, those that an operator has parked since
// they were claimed, and those that cannot be worked on now.
func (c *Controller) accept(ctx context.Context, ids []message.ID, recs []guarantee.Record) {
	taken := make(map[message.ID]bool, len(recs))
	var failure error
	var begun []*work
	for i := range recs {
		if status := recs[i].Status; status != guarantee.Running && status != guarantee.Waiting {
			continue
		}
		w, err := c.begin(ctx, recs[i])
		if err != nil {
			failure = err
			continue
		}
		begun = append(begun, w)
	}
	if err := c.hear(ctx, begun); err != nil {
		begun, failure = nil, err
	}
	for _, w := range begun {
		taken[w.rec.ID] = true
		c.hand.Store(w.rec.ID, w)
		c.ready <- w
	}
	var rest []message.ID
	for _, id := range ids {
		if !taken[id] {
			rest = append(rest, id)
		}
	}
	c.settle(rest)
	if failure != nil {
		c.trouble(ctx, "read what due messages need", failure)
	}
}

// settle gives claims and slots back.
func (c *Controller) settle(ids []message.ID) {
	if len(ids) == 0 {
		return
	}
	if err := c.feeder.Settle(context.Background(), ids); err != nil {
		c.Log.ErrorContext(context.Background(), "settle claims; they will be handed out again when this process ends", "error", err)
	}
	c.inHand.Add(-int64(len(ids)))
	c.release(len(ids))
}

// trouble reports an error of the infrastructure and waits before the next try.
func (c *Controller) trouble(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	c.Log.ErrorContext(ctx, "the storage failed; tried again", "at", what, "error", err)
	pause := time.NewTimer(200 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

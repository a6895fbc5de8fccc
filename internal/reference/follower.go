package reference

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/together"
)

// What the zero values of a Follower mean.
const (
	defaultKeep    = 10_000
	defaultBatch   = 4096
	defaultPace    = 10 * time.Millisecond
	trimStep       = 1024 // events a trim takes at least; few enough that no commit waits long for it
	shortestRetry  = 50 * time.Millisecond
	longestRetry   = 5 * time.Second
	observeTimeout = time.Second
	waitForLeader  = 25 * time.Millisecond // between two looks at what another process has applied
)

// Lag is how far Reference is behind Guarantee.
type Lag struct {
	Behind int64         // how much further the outbox goes: its last seq less the one applied; 0 when all is applied
	Age    time.Duration // how long ago the oldest event of the last batch was committed when it was applied; 0 while failing
	Err    error         // why the Follower is not getting on; nil when it is
}

// Follower is the service that keeps Reference up to date: it tails the outbox, applies the newest version of each message
// in every batch, hands all events to the hub, and trims the outbox behind itself. It is the only one that trims.
//
// A message that moves on before its last event was applied costs one write instead of two. So under load the Follower rests
// between batches, for longer the longer they take, and leaves most of the machine to what Reference follows.
//
// Where several processes follow one outbox into one Reference, the one that has the seat does so. The others hand events on once
// it has applied them.
//
// A failure is logged and tried again with growing pauses for as long as it takes; Guarantee never waits for it. When the
// outbox no longer holds what comes after Reference's position, because Reference's file was lost or is older than what was
// trimmed, Reference is rebuilt first.
type Follower struct {
	Outbox  event.Outbox
	Source  Source
	Store   Store
	Repairs Repairs
	Hub     *event.Hub   // gets each event once it has been applied; may be nil
	Log     *slog.Logger // may be nil
	Observe func(Lag)    // called after each batch and each failure; may be nil

	Keep    int64         // events kept in the outbox for streams that resume; 0 means 10,000
	KeepFor time.Duration // and how long at least, for Followers of other processes on the same outbox; 0: they are none
	Batch   int           // most events at once; 0 means 4,096
	Pace    time.Duration // least time from one batch to the next; 0 means 10 ms
	Seat    *leader.Seat  // nil: nobody else applies and trims

	started bool
	applied int64  // last event handed on; once started
	marks   []mark // where the outbox can be trimmed, oldest first
	handled int64  // events that this process has handed on
	trimmed int64  // and how many of them it has trimmed
	retry   time.Duration
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	f.setDefaults()
	for {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to stop, whatever that broke off
		}
		f.retry = min(max(2*f.retry, shortestRetry), longestRetry)
		f.Log.ErrorContext(ctx, "Reference cannot follow Guarantee; queries show an older state until it can", "error", err, "again_in", f.retry)
		f.observeFailure(ctx, err)
		if lifecycle.Sleep(ctx, f.retry) != nil {
			return nil //nolint:nilerr // it was told to stop
		}
	}
}

func (f *Follower) setDefaults() {
	if f.Keep == 0 {
		f.Keep = defaultKeep
	}
	if f.Batch == 0 {
		f.Batch = defaultBatch
	}
	if f.Pace == 0 {
		f.Pace = defaultPace
	}
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
}

// follow works until something fails.
func (f *Follower) follow(ctx context.Context) error {
	after, err := f.start(ctx)
	if err != nil {
		return err
	}
	for {
		began := time.Now()
		events, err := f.Outbox.Read(ctx, after, f.Batch)
		if err != nil {
			return fmt.Errorf("read the outbox after %d: %w", after, err)
		}
		if len(events) == 0 {
			continue
		}
		read := time.Now()
		if after, err = f.apply(ctx, events); err != nil {
			return err
		}
		least := f.Pace - time.Since(began)
		if lifecycle.Sleep(ctx, max(least, together.Pause(len(events), len(events) == f.Batch, time.Since(read)))) != nil {
			return ctx.Err()
		}
	}
}

// start tells after which event to read on, and rebuilds when the outbox does not reach back that far.
func (f *Follower) start(ctx context.Context) (after int64, err error) {
	position, err := f.Store.Position(ctx)
	if err != nil {
		return 0, fmt.Errorf("read Reference's position: %w", err)
	}
	first, last, err := f.Outbox.Bounds(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the outbox's bounds: %w", err)
	}
	if f.started { // what was stored and not handed on, because storing it was reported as failed, is handed on now
		position = min(position, f.applied)
	}
	if position <= last && first <= position+1 {
		f.started, f.applied = true, position
		return position, nil
	}
	term, done, leads := f.Seat.Within(ctx)
	defer done()
	if !leads { // who leads rebuilds it
		if lifecycle.Sleep(ctx, waitForLeader) != nil {
			return 0, ctx.Err()
		}
		return f.start(ctx)
	}
	return f.rebuild(term, position, first, last)
}

// rebuild makes Reference anew, as of the outbox's last event.
func (f *Follower) rebuild(ctx context.Context, position, first, last int64) (after int64, err error) {
	f.Log.WarnContext(ctx, "Reference's position is not in the outbox; rebuilding from Guarantee", "position", position, "first", first, "last", last)
	b := &rebuilder{source: f.Source, store: f.Store, repairs: f.Repairs}
	if err := b.run(ctx); err != nil {
		return 0, err
	}
	// Everything up to last was committed before the rebuild began to read, so it is in what was read.
	if err := f.Store.Apply(ctx, nil, last); err != nil {
		return 0, fmt.Errorf("set Reference's position: %w", err)
	}
	f.started, f.applied = true, last
	return last, nil
}

// apply stores a batch, hands it on and trims.
func (f *Follower) apply(ctx context.Context, events []event.Event) (seq int64, err error) {
	seq = events[len(events)-1].Seq
	if err := f.store(ctx, newest(events), seq); err != nil {
		return 0, fmt.Errorf("apply events up to %d to Reference: %w", seq, err)
	}
	if f.Hub != nil {
		f.Hub.Publish(events)
	}
	f.applied = seq
	f.retry = 0
	if err := f.trim(ctx, events); err != nil {
		return 0, err
	}
	return seq, f.observe(ctx, events)
}

// store applies a batch where this process leads. Otherwise it waits until who leads has applied it.
func (f *Follower) store(ctx context.Context, rows []Row, seq int64) error {
	for {
		term, done, leads := f.Seat.Within(ctx)
		if leads {
			err := f.Store.Apply(term, rows, seq)
			deposed := err != nil && term.Err() != nil && ctx.Err() == nil
			done()
			if !deposed {
				return err
			}
		}
		position, err := f.Store.Position(ctx)
		if err != nil || position >= seq {
			return err
		}
		if lifecycle.Sleep(ctx, waitForLeader) != nil {
			return ctx.Err()
		}
	}
}

// mark is an event at which the outbox can be trimmed, once enough have come after it. A seq tells nothing of how many.
type mark struct {
	seq   int64
	count int64 // events handed on, up to and with it
	at    time.Time
}

// trim forgets what is behind Keep events and KeepFor, when that is worth a trim. It marks one event in a hundred of Keep.
func (f *Follower) trim(ctx context.Context, events []event.Event) error {
	now := time.Now()
	for i := range events {
		if f.handled++; f.handled%max(1, f.Keep/100) == 0 {
			f.marks = append(f.marks, mark{events[i].Seq, f.handled, now})
		}
	}
	due := 0
	for due < len(f.marks) && f.handled-f.marks[due].count >= f.Keep && now.Sub(f.marks[due].at) >= f.KeepFor {
		due++
	}
	if due == 0 || f.marks[due-1].count-f.trimmed < trimStep {
		return nil
	}
	to := f.marks[due-1]
	if f.Seat.Had() {
		if err := f.Outbox.Trim(ctx, to.seq); err != nil {
			return fmt.Errorf("trim the outbox up to %d: %w", to.seq, err)
		}
	}
	f.trimmed = to.count
	f.marks = slices.Delete(f.marks, 0, due)
	return nil
}

// observe reports the lag; a batch that is not full was all that there was.
func (f *Follower) observe(ctx context.Context, events []event.Event) error {
	if f.Observe == nil {
		return nil
	}
	lag := Lag{Age: events[0].Age(time.Now())}
	if len(events) == f.Batch {
		_, last, err := f.Outbox.Bounds(ctx)
		if err != nil {
			return fmt.Errorf("read the outbox's bounds: %w", err)
		}
		lag.Behind = last - f.applied
	}
	f.Observe(lag)
	return nil
}

// observeFailure reports how far behind Reference is, as far as that can be told.
func (f *Follower) observeFailure(ctx context.Context, failure error) {
	if f.Observe == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	lag := Lag{Err: failure}
	if _, last, err := f.Outbox.Bounds(ctx); err == nil {
		lag.Behind = max(0, last-f.applied)
	}
	f.Observe(lag)
}

// newest keeps the last event of each message, in the order of the outbox.
func newest(events []event.Event) []Row {
	at := make(map[message.ID]int, len(events))
	rows := make([]Row, 0, len(events))
	for i := range events {
		if j, seen := at[events[i].ID]; seen {
			if events[i].Version > rows[j].Version {
				rows[j] = events[i].Snapshot
			}
			continue
		}
		at[events[i].ID] = len(rows)
		rows = append(rows, events[i].Snapshot)
	}
	return rows
}

package controller_test

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/tasktoken"
)

// engine is a controller over real storage, with the actions and the workflow of one test.
type engine struct {
	linger  time.Duration // 0: 50 ms
	t       testing.TB
	path    string
	faults  *fault.Points
	db      *sqlite.DB
	store   *sqlite.Guarantee
	feeder  *sqlite.Feeder
	library *workflow.Library
	actions *step.Registry
	control *controller.Controller
	service *guarantee.Service
	ended   chan guarantee.Record
	parked  chan message.ID
	tokens  *tasktoken.Maker
	ahead   atomic.Int64 // nanoseconds that the engine's clock is ahead
	stop    func()
	loading func([]message.ID)      // called between Claim and Load; may be nil
	reading func(ref string) error  // called before a definition is read; may be nil
	written atomic.Pointer[written] // is told what is committed; may be nil
}

// hooked lets a test act between the controller's calls to storage.
type hooked struct {
	*sqlite.Guarantee
	e *engine
}

func (h hooked) Load(ctx context.Context, ids []message.ID) ([]guarantee.Record, error) {
	if h.e.loading != nil {
		h.e.loading(ids)
	}
	return h.Guarantee.Load(ctx, ids)
}

func (h hooked) Commit(ctx context.Context, ts []guarantee.Transition) ([]error, error) {
	if w := h.e.written.Load(); w != nil {
		w.add(ts)
	}
	return h.Guarantee.Commit(ctx, ts)
}

func (h hooked) Definition(ctx context.Context, ref string) ([]byte, error) {
	if h.e.reading != nil {
		if err := h.e.reading(ref); err != nil {
			return nil, err
		}
	}
	return h.Guarantee.Definition(ctx, ref)
}

func newEngine(t testing.TB, source string, actions ...step.Action) *engine {
	t.Helper()
	e := &engine{t: t, path: filepath.Join(t.TempDir(), "aval.db"), faults: fault.New()}
	e.ended, e.parked = make(chan guarantee.Record, 1000), make(chan message.ID, 1000)
	var err error
	if e.tokens, err = tasktoken.New(make([]byte, tasktoken.KeySize)); err != nil {
		t.Fatal(err)
	}
	if e.actions, err = step.NewRegistry(append(actions, step.Archive(), step.Park())...); err != nil {
		t.Fatal(err)
	}
	e.open("QueryLanguage: CEL\n" + source)
	return e
}

func (e *engine) open(source string) {
	e.t.Helper()
	db, err := sqlite.Open(e.t.Context(), e.path, sqlite.Options{Faults: e.faults})
	if err != nil {
		e.t.Fatal(err)
	}
	e.db = db
	e.store, e.feeder = sqlite.NewGuarantee(db), sqlite.NewFeeder(db, e.now)
	e.library = workflow.New(hooked{e.store, e}, machine.Rules{Actions: e.actions.Effect})
	if err := e.library.Add(e.t.Context(), "note.v1", []byte(source)); err != nil {
		e.t.Fatal(err)
	}
	e.service = &guarantee.Service{Store: e.store, Calls: e.store, Tokens: e.tokens, Workflows: e.library, Now: e.now}
	e.start(db)
}

func (e *engine) start(db *sqlite.DB) {
	ctx, cancel := context.WithCancel(context.Background())
	e.control = controller.New(hooked{e.store, e}, e.feeder, e.library, e.actions, controller.Config{
		Name: "test", Drain: 100 * time.Millisecond, Linger: cmp.Or(e.linger, 50*time.Millisecond), Faults: e.faults, Calls: e.store, Nudges: e.feeder, Tokens: e.tokens, Now: e.now,
		Observe: controller.Observer{
			Ended:  func(rec *guarantee.Record) { e.ended <- *rec },
			Parked: func(id message.ID, _ string) { e.parked <- id },
		},
	})
	done := make(chan error, 1)
	go func() { done <- e.control.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			e.t.Error(err)
		}
		if err := db.Close(); err != nil {
			e.t.Error(err)
		}
	})
	e.t.Cleanup(func() { e.stop() })
}

// now is the engine's clock.
func (e *engine) now() time.Time { return time.Now().Add(time.Duration(e.ahead.Load())) }

// jump turns the engine's clock forward, and makes a commit, at which the feeder looks again at what is due.
func (e *engine) jump(d time.Duration) {
	e.t.Helper()
	e.ahead.Add(int64(d))
	if err := e.store.Issue(e.t.Context(), []guarantee.Issued{{ID: message.NewID(), Client: "cli_a", Expires: time.Now().Add(time.Hour)}}); err != nil {
		e.t.Fatal(err)
	}
}

// accept stores a message as the service would.
func (e *engine) accept() message.ID {
	e.t.Helper()
	return e.acceptFor("")
}

// acceptFor stores a message that is pinned to a definition, "" for the newest.
func (e *engine) acceptFor(ref string) message.ID {
	e.t.Helper()
	return e.acceptAs(ref, "hello")
}

func (e *engine) acceptAs(ref, text string) message.ID {
	e.t.Helper()
	now := e.now()
	id := message.NewID()
	if err := e.store.Issue(e.t.Context(), []guarantee.Issued{{ID: id, Client: "cli_a", Expires: now.Add(time.Hour)}}); err != nil {
		e.t.Fatal(err)
	}
	start, err := e.library.Begin(e.t.Context(), "note.v1", "")
	if err != nil {
		e.t.Fatal(err)
	}
	a := guaranteetest.Acceptance(id, "cli_a", text)
	a.Expires = now.Add(time.Hour)
	a.Workflow, a.State, a.Place, a.Due = start.Ref, start.State, start.Place, now
	if ref != "" {
		a.Workflow = ref
	}
	if _, _, err := e.store.Accept(e.t.Context(), a, now); err != nil {
		e.t.Fatal(err)
	}
	return id
}

func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happened for 20 s")
		panic("unreachable")
	}
}

func (e *engine) events(id message.ID) (guarantee.Record, string) {
	e.t.Helper()
	rec, history, err := e.store.Get(e.t.Context(), id)
	if err != nil {
		e.t.Fatal(err)
	}
	text := ""
	for i, entry := range history {
		if entry.Version != int64(i+1) {
			e.t.Errorf("history entry %d has version %d", i+1, entry.Version)
		}
		text += fmt.Sprintf("%s %s\n", entry.State, entry.Event)
	}
	return rec, text
}

const effectThenArchive = `
StartAt: Check
States:
  Check: {Type: Task, Resource: check, Next: Do}
  Do: {Type: Task, Resource: do, Next: Keep, Catch: [{ErrorEquals: [refused], Next: No}, {ErrorEquals: [States.ALL], Next: Hold}], Retry: [{ErrorEquals: [busy], IntervalSeconds: 1, MaxAttempts: 2}]}
  Keep: {Type: Task, Resource: archive, End: true}
  No: {Type: Fail, Error: refused}
  Hold: {Type: Task, Resource: park, Next: Do}
`

// pure is an action without effect.
func pure(name string) step.Action {
	return step.Action{Name: name, Run: step.Each(func(context.Context, step.Task) (any, error) { return map[string]string{"ok": name}, nil })}
}

func effect(name string, run func(ctx context.Context, task step.Task) (any, error)) step.Action {
	return step.Action{Name: name, Effect: true, Run: step.Each(run)}
}

func TestI5TheIntentIsCommittedBeforeTheEffect(t *testing.T) {
	var e *engine
	seen := make(chan guarantee.Record, 1)
	e = newEngine(t, effectThenArchive, pure("check"), effect("do", func(ctx context.Context, task step.Task) (any, error) {
		rec, _, err := e.store.Get(ctx, task.Record.ID)
		seen <- rec
		return nil, err
	}))
	id := e.accept()
	if rec := wait(t, seen); rec.State != "Do" || rec.Version != 2 {
		t.Errorf("when the effect began, Guarantee had %s at version %d", rec.State, rec.Version)
	}
	wait(t, e.ended)
	rec, history := e.events(id)
	if !rec.Archived || rec.Status != guarantee.Succeeded {
		t.Errorf("at the end: %+v", rec)
	}
	if want := "Check accepted\nCheck succeeded\nDo succeeded\nKeep succeeded\n"; history != want {
		t.Errorf("history:\n%swant:\n%s", history, want)
	}
}

func TestI5AnEffectThatWasCutOffIsResumed(t *testing.T) {
	begun, block := make(chan bool, 10), make(chan struct{})
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(ctx context.Context, task step.Task) (any, error) {
		begun <- task.Resumed
		select {
		case <-block:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	}))
	source, err := e.library.Find(t.Context(), start(t, e).Ref)
	if err != nil {
		t.Fatal(err)
	}
	e.accept()
	if wait(t, begun) {
		t.Error("the first run was told that it is resumed")
	}
	e.stop() // the action is still running
	close(block)
	e.open(string(source.Source))
	if !wait(t, begun) {
		t.Error("the second run was not told that an effect may have happened")
	}
	wait(t, e.ended)
}

func start(t *testing.T, e *engine) guarantee.Start {
	t.Helper()
	s, err := e.library.Begin(e.t.Context(), "note.v1", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestI18APoisonMessageBlocksNobody(t *testing.T) {
	var first message.ID
	var mu sync.Mutex
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(_ context.Context, task step.Task) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		if first == "" {
			first = task.Record.ID
		}
		if task.Record.ID == first {
			panic("poison")
		}
		return nil, nil
	}))
	for range 20 {
		e.accept()
	}
	for range 19 {
		wait(t, e.ended)
	}
	if id := wait(t, e.parked); id != first {
		t.Errorf("%s was parked, want %s", id, first)
	}
	rec, _ := e.events(first)
	if rec.Status != guarantee.Parked || rec.State != "Hold" || rec.Reason == "" {
		t.Errorf("the poison message is %+v", rec)
	}
}

func TestRetryThenRefusal(t *testing.T) {
	attempts := make(chan int, 10)
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(_ context.Context, task step.Task) (any, error) {
		attempts <- task.Attempt
		if task.Attempt == 1 {
			return nil, problem.New(problem.Unavailable, "busy", "come back later")
		}
		return nil, problem.New(problem.Forbidden, "refused", "no")
	}))
	id := e.accept()
	if one, two := wait(t, attempts), wait(t, attempts); one != 1 || two != 2 {
		t.Errorf("attempts %d, %d", one, two)
	}
	wait(t, e.ended)
	rec, history := e.events(id)
	if rec.Status != guarantee.Failed || rec.Archived || rec.Reason != "refused" {
		t.Errorf("at the end: %+v", rec)
	}
	if want := "Check accepted\nCheck succeeded\nDo retry\nDo caught\nNo ended\n"; history != want {
		t.Errorf("history:\n%swant:\n%s", history, want)
	}
}

func TestUnfinishedIsAskedAgainInHandThenFromGuarantee(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	e := newEngine(t, effectThenArchive, pure("check"), step.Action{Name: "do", Effect: true, Run: func(_ context.Context, tasks []step.Task) []step.Outcome {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if asked < 20 { // at 10 ms each, more than Linger
			return []step.Outcome{{Later: 10 * time.Millisecond, Note: "not yet"}}
		}
		return make([]step.Outcome, 1)
	}})
	id := e.accept()
	wait(t, e.ended)
	_, history := e.events(id)
	if want := "Check accepted\nCheck succeeded\nDo waiting\nDo succeeded\nKeep succeeded\n"; history != want {
		t.Errorf("however often it was asked, the history is:\n%swant:\n%s", history, want)
	}
}

func TestOperatorsParkResumeAndReplay(t *testing.T) {
	fail := true
	var mu sync.Mutex
	e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(context.Context, step.Task) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		if fail {
			return nil, problem.New(problem.Internal, "broken", "the outside is broken")
		}
		return nil, nil
	}))
	resumed, replayed := e.accept(), e.accept()
	wait(t, e.parked)
	wait(t, e.parked)
	if err := e.service.Resume(t.Context(), resumed, "ann"); err != nil { // goes on after Hold, to Do, which still fails
		t.Fatal(err)
	}
	wait(t, e.parked)
	mu.Lock()
	fail = false
	mu.Unlock()
	if err := e.service.Resume(t.Context(), resumed, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := e.service.Replay(t.Context(), replayed, "ann"); err != nil {
		t.Fatal(err)
	}
	wait(t, e.ended)
	wait(t, e.ended)
	for _, id := range []message.ID{resumed, replayed} {
		if rec, _ := e.events(id); rec.Status != guarantee.Succeeded || !rec.Archived {
			t.Errorf("%s ended as %+v", id, rec)
		}
		if err := e.service.Resume(t.Context(), id, "ann"); problem.KindOf(err) != problem.Conflict {
			t.Errorf("resuming what has ended: %v", err)
		}
	}
}

// final follows a message by the outbox until it has ended; when it is parked, an operator resumes it.
func (e *engine) final(id message.ID) guarantee.Record {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 20*time.Second)
	defer cancel()
	for seq := int64(0); ; {
		events, err := sqlite.NewOutbox(e.db).Read(ctx, seq, 100)
		if err != nil {
			e.t.Fatalf("%s is lost: %v", id, err)
		}
		for _, event := range events {
			seq = event.Seq
			switch {
			case event.ID != id:
			case event.Status.Terminal():
				rec, _ := e.events(id)
				return rec
			case event.Status == guarantee.Parked:
				if err := e.service.Resume(ctx, id, "ann"); err != nil && problem.KindOf(err) != problem.Conflict {
					e.t.Fatal(err)
				}
			}
		}
	}
}

// Every durable write of the engine, failed and persisted-but-reported-failed, in the middle of work: all messages end well,
// and each effect is told when it may have happened before.
func TestStorageFaultsLoseNothing(t *testing.T) {
	for _, point := range []string{"guarantee.commit.before", "guarantee.commit.after", "action.do.before", "action.do.after"} {
		t.Run(point, func(t *testing.T) {
			var mu sync.Mutex
			runs := map[message.ID]int{}
			e := newEngine(t, effectThenArchive, pure("check"), effect("do", func(_ context.Context, task step.Task) (any, error) {
				mu.Lock()
				defer mu.Unlock()
				if runs[task.Record.ID]++; runs[task.Record.ID] > 1 && !task.Resumed {
					t.Errorf("%s: run again without being told", task.Record.ID)
				}
				return nil, nil
			}))
			for nth := 1; nth <= 3; nth++ {
				e.faults.Arm(point, fault.Fail, nth)
				if rec := e.final(e.accept()); rec.Status != guarantee.Succeeded || !rec.Archived {
					t.Errorf("fault %d: %+v", nth, rec)
				}
			}
		})
	}
}

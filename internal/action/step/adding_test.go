package step_test

// What docs/adding-an-action.md shows, between the region lines, is added here as the guide says and drives a message.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// region action

// Board is what the action needs of a notice board: it keeps one notice for each key.
type Board interface {
	// Find gives the number of the notice with this key; false when there is none.
	Find(ctx context.Context, key string) (number int64, there bool, err error)
	Pin(ctx context.Context, key, text string) (number int64, err error)
}

// Publish pins the text of a message to a board.
func Publish(board Board) step.Action {
	return step.Action{Name: "publish", Effect: true, Parallel: 4, Run: step.Each(func(ctx context.Context, task step.Task) (any, error) {
		key := string(task.Record.ID) + "/" + task.State
		if task.Resumed { // the notice may have been pinned before a crash: look, never repeat blindly (I5)
			if number, there, err := board.Find(ctx, key); err != nil || there {
				return notice{number}, err
			}
		}
		var arguments struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(task.Arguments, &arguments); err != nil || arguments.Text == "" {
			return nil, problem.New(problem.Invalid, "notice-empty", "there is no text to publish; give the state Arguments with a text")
		}
		number, err := board.Pin(ctx, key, arguments.Text)
		return notice{number}, err
	})}
}

// notice is what publish answers: the state's result.
type notice struct {
	Number int64 `json:"number"`
}

// endregion

const published = `
# region workflow
Comment: Publishes a note.
QueryLanguage: CEL
StartAt: Publish
States:
  Publish:
    Type: Task
    Resource: publish
    Arguments: {text: "{% message.body.text %}"}
    Retry:
      - ErrorEquals: [board-unreachable]
        MaxAttempts: 100
        MaxDelaySeconds: 60
        JitterStrategy: FULL
    Catch:
      - ErrorEquals: [States.ALL]
        Assign: {trouble: "{% states.errorOutput %}"}
        Next: Hold
    Assign: {notice: "{% states.result.number %}"}
    Next: Archive
  Hold:
    Comment: A dead letter. An operator mends the cause and resumes.
    Type: Task
    Resource: park
    Arguments: {reason: "{% vars.trouble.Error + ': ' + vars.trouble.Cause %}"}
    Next: Publish
  Archive:
    Type: Task
    Resource: archive
    End: true
# endregion
`

// board is the outside: it counts what was pinned, and can lose an answer.
type board struct {
	mu     sync.Mutex
	pinned map[string]int64
	calls  int
	lose   bool // the next answer of Pin
}

func (b *board) Find(_ context.Context, key string) (int64, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	number, there := b.pinned[key]
	return number, there, nil
}

func (b *board) Pin(_ context.Context, key, _ string) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.pinned[key] = int64(b.calls)
	if b.lose {
		b.lose = false
		return 0, problem.New(problem.Unavailable, "board-unreachable", "the board did not answer: %w", errors.New("timeout"))
	}
	return int64(b.calls), nil
}

// A message goes through the guide's workflow with the guide's action; one whose answer was lost is published once (I5).
func TestAddingAnAction(t *testing.T) {
	for name, lost := range map[string]bool{"plain": false, "answer lost": true} {
		t.Run(name, func(t *testing.T) {
			outside := &board{pinned: map[string]int64{}, lose: lost}
			rec := drive(t, outside)
			if rec.Status != guarantee.Succeeded || string(rec.Ext) != `{"notice":1}` {
				t.Errorf("the message ended as %s with the ext %s", rec.Status, rec.Ext)
			}
			if outside.calls != 1 {
				t.Errorf("the notice was pinned %d times", outside.calls)
			}
		})
	}
}

// drive runs one note.v1 through the workflow, over real storage, to its end.
func drive(t *testing.T, outside Board) guarantee.Record {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	registry, err := step.NewRegistry(Publish(outside), step.Archive(), step.Park())
	if err != nil {
		t.Fatal(err)
	}
	store := sqlite.NewGuarantee(db)
	library := workflow.New(store, machine.Rules{Actions: registry.Effect})
	if err := library.Add(t.Context(), "note.v1", []byte(published)); err != nil {
		t.Fatal(err)
	}
	accept(t, store, library)
	ended := make(chan guarantee.Record, 1)
	control := controller.New(store, sqlite.NewFeeder(db, time.Now), library, registry, controller.Config{
		Observe: controller.Observer{Ended: func(rec *guarantee.Record) { ended <- *rec }},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	select {
	case rec := <-ended:
		return rec
	case <-time.After(20 * time.Second):
		t.Fatal("the message did not end")
		panic("unreachable")
	}
}

func accept(t *testing.T, store guarantee.Store, library *workflow.Library) {
	t.Helper()
	now := time.Now()
	id := message.NewID()
	start, err := library.Begin(t.Context(), "note.v1", "")
	if err == nil {
		err = store.Issue(t.Context(), []guarantee.Issued{{ID: id, Client: "cli_a", Expires: now.Add(time.Hour)}})
	}
	if err != nil {
		t.Fatal(err)
	}
	a := guaranteetest.Acceptance(id, "cli_a", "hello")
	a.Expires, a.Workflow, a.State, a.Place, a.Due = now.Add(time.Hour), start.Ref, start.State, start.Place, now
	if _, _, err := store.Accept(t.Context(), a, now); err != nil {
		t.Fatal(fmt.Errorf("accept the message: %w", err))
	}
}

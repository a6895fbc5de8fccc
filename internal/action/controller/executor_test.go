package controller

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// TestADeadlineCutsOffNobodyElse: of two messages in one run, one whose time is over and one with time left.
func TestADeadlineCutsOffNobodyElse(t *testing.T) {
	c := &Controller{Config: withDefaults(Config{})}
	over := &flight{w: &work{}, run: machine.Run{State: "Over", Deadline: time.Now()}}
	ample := &flight{w: &work{}, run: machine.Run{State: "Ample"}}
	unreachable := problem.New(problem.Unavailable, "chain-unreachable", "no answer: %w", context.DeadlineExceeded)
	outcomes := c.call(t.Context(), step.Action{Name: "ask", Run: func(ctx context.Context, tasks []step.Task) []step.Outcome {
		if ctx.Err() != nil {
			t.Error("the run was cut off before it began")
		}
		return all(len(tasks), unreachable)
	}}, []*flight{over, ample})
	if code := problem.From(outcomes[0].Err).Code; code != machine.ErrTimeout {
		t.Errorf("what was cut off at its deadline failed with %s", code)
	}
	if !errors.Is(outcomes[1].Err, unreachable) {
		t.Errorf("what has no deadline failed with %v", outcomes[1].Err)
	}
}

// TestWhatHasNoEffectIsRunTogether: the actions of a turn's messages are run in as few runs as each action takes, but for those that
// have to report; a message gets its answers in the order in which it has asked, and one that panics fails alone (I18).
func TestWhatHasNoEffectIsRunTogether(t *testing.T) {
	var ran [][]string
	run := func(_ context.Context, tasks []step.Task) []step.Outcome {
		var states []string
		out := make([]step.Outcome, len(tasks))
		for i, task := range tasks {
			if task.State == "Poison" {
				panic("poison")
			}
			states, out[i].Note = append(states, task.State), task.State
		}
		ran = append(ran, states)
		return out
	}
	actions, err := step.NewRegistry(step.Action{Name: "some", Batch: 3, Run: run}, step.Action{Name: "single", Run: run})
	if err != nil {
		t.Fatal(err)
	}
	c := &Controller{Config: withDefaults(Config{}), actions: actions}
	one, two := &work{}, &work{}
	ask := func(w *work, action, state string, heartbeat time.Duration) *flight {
		return &flight{w: w, run: machine.Run{Action: action, State: state, Heartbeat: heartbeat}}
	}
	c.perform(t.Context(), []*flight{
		ask(one, "some", "A", 0), ask(two, "some", "B", 0), ask(one, "some", "Reports", time.Minute), ask(one, "some", "C", 0), ask(two, "some", "D", 0),
	})
	if want := [][]string{{"Reports"}, {"A", "B", "C"}, {"D"}}; !reflect.DeepEqual(ran, want) {
		t.Errorf("run together were %v, want %v", ran, want)
	}
	ran = nil
	c.perform(t.Context(), []*flight{
		ask(one, "single", "E", 0), ask(two, "some", "Poison", 0), ask(two, "single", "F", 0), ask(two, "some", "G", 0), ask(one, "none", "H", 0),
	})
	if len(ran) != 3 {
		t.Errorf("run were %v", ran)
	}
	want := map[*work][]string{one: {"A", "Reports", "C", "E", "H:action-unknown"}, two: {"B", "D", "Poison:action-panicked", "F", "G"}}
	for w, states := range want {
		var got []string
		for _, a := range w.inline {
			answer := a.flight.run.State
			if a.event.Kind == machine.Failed {
				answer += ":" + a.event.Error
			} else if a.outcome.Note != answer {
				t.Errorf("%s got the answer of %s", answer, a.outcome.Note)
			}
			got = append(got, answer)
		}
		if !slices.Equal(got, states) {
			t.Errorf("the answers were %v, want %v", got, states)
		}
	}
}

// TestUnderLoadMoreIsRunTogether: after a large run the next one waits until more has gathered; what comes alone is run at once.
func TestUnderLoadMoreIsRunTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran []int
		begun := time.Now()
		var at []time.Duration
		actions, err := step.NewRegistry(step.Action{Name: "lease", Effect: true, Batch: 1024, Parallel: 1, Run: func(_ context.Context, tasks []step.Task) []step.Outcome {
			ran, at = append(ran, len(tasks)), append(at, time.Since(begun))
			time.Sleep(10 * time.Millisecond)
			return make([]step.Outcome, len(tasks))
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := New(nil, nil, nil, actions, Config{InFlight: 1024})
		e := c.executors["lease"]
		push := func(n int) {
			for range n {
				e.queue.push(&flight{w: &work{}, run: machine.Run{State: "Sign"}})
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		push(100)
		e.start(ctx, &workers)
		for range 50 { // while the first run and the rest after it last
			time.Sleep(time.Millisecond)
			push(1)
		}
		time.Sleep(time.Second)
		push(1)
		time.Sleep(time.Second)
		stop()
		workers.Wait()
		if !slices.Equal(ran, []int{100, 50, 1}) || at[1] != 90*time.Millisecond || at[2] != 1050*time.Millisecond {
			t.Errorf("run together were %v, after %v", ran, at)
		}
	})
}

// TestALaneHoldsUpNoOther: while the run of one lane lasts, those of others go on, and what is asked of it meanwhile is one run later.
func TestALaneHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ran := map[string][]int{}
		lane := func(task step.Task) string { return string(task.Record.ID) }
		actions, err := step.NewRegistry(step.Action{Name: "sign", Effect: true, Batch: 10, Lane: lane, Run: func(_ context.Context, tasks []step.Task) []step.Outcome {
			mu.Lock()
			defer mu.Unlock()
			for _, task := range tasks {
				if lane(task) != lane(tasks[0]) {
					t.Errorf("%s is run with %s", lane(task), lane(tasks[0]))
				}
			}
			ran[lane(tasks[0])] = append(ran[lane(tasks[0])], len(tasks))
			mu.Unlock()
			defer mu.Lock()
			if lane(tasks[0]) == "slow" {
				time.Sleep(time.Minute)
			}
			return make([]step.Outcome, len(tasks))
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := New(nil, nil, nil, actions, Config{InFlight: 1024})
		push := func(lane string) {
			c.executors["sign"].queue.push(&flight{w: &work{}, rec: guarantee.Record{Verified: message.Verified{Message: message.Message{ID: message.ID(lane)}}}, run: machine.Run{State: "Sign"}})
		}
		ctx, stop := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		c.executors["sign"].start(ctx, &workers)
		for range 12 {
			push("slow")
			push("quick")
			time.Sleep(time.Second)
		}
		mu.Lock()
		if len(ran["quick"]) != 12 || !slices.Equal(ran["slow"], []int{1}) {
			t.Errorf("while the slow lane's run lasts, run are %v", ran)
		}
		mu.Unlock()
		time.Sleep(3 * time.Minute)
		stop()
		workers.Wait()
		if !slices.Equal(ran["slow"], []int{1, 10, 1}) {
			t.Errorf("afterwards run were %v", ran["slow"])
		}
	})
}

// TestALaneThatIsHeldUpLeavesRoom: when every message in hand is of one lane whose run does not end, those behind it leave the hand, and
// other lanes have their places; what comes for it when it has ended is run.
func TestALaneThatIsHeldUpLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ran := map[string]int{}
		lane := func(task step.Task) string { return string(task.Record.ID) }
		actions, err := step.NewRegistry(step.Action{Name: "sign", Effect: true, Batch: 2, Parallel: 1, Lane: lane, Run: func(_ context.Context, tasks []step.Task) []step.Outcome {
			mu.Lock()
			ran[lane(tasks[0])] += len(tasks)
			mu.Unlock()
			if lane(tasks[0]) == "held" {
				time.Sleep(time.Minute)
			}
			return make([]step.Outcome, len(tasks))
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := New(nil, nil, nil, actions, Config{InFlight: 8})
		push := func(lane string) *work {
			c.slots <- struct{}{}
			w := &work{}
			c.executors["sign"].queue.push(&flight{w: w, rec: guarantee.Record{Verified: message.Verified{Message: message.Message{ID: message.ID(lane)}}}, run: machine.Run{State: "Sign"}})
			return w
		}
		ctx, stop := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		workers.Go(func() { // in the place of turns
			for {
				select {
				case <-c.ready:
				case <-ctx.Done():
					return
				}
			}
		})
		var held []*work
		for range 8 {
			held = append(held, push("held"))
		}
		c.executors["sign"].start(ctx, &workers)
		time.Sleep(slow + 2*time.Second)
		away := 0
		for _, w := range held {
			for _, a := range w.arrivals() {
				if a.outcome.Later == c.Linger {
					away++
					<-c.slots
				}
			}
		}
		if away != 6 {
			t.Errorf("%d of 6 that wait have left the hand", away)
		}
		for range 3 {
			push("quick")
		}
		time.Sleep(time.Second)
		mu.Lock()
		if ran["quick"] != 3 || ran["held"] != 2 {
			t.Errorf("while one lane is held up, run are %v", ran)
		}
		mu.Unlock()
		push("held")
		time.Sleep(2 * time.Minute)
		stop()
		workers.Wait()
		if ran["held"] != 3 {
			t.Errorf("afterwards run are %v", ran)
		}
	})
}

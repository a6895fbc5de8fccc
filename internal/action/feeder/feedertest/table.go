package feedertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
)

// TableBackend is one table under test, as two processes see it.
type TableBackend struct {
	Relay, Worker feeder.Table
	Store         guarantee.Store
	Advance       func(time.Duration) // moves the clock of both
	Crash         func()              // ends the relay's process
}

// RunTable checks what a table promises. The clock stands at Start.
func RunTable(t *testing.T, open func(t *testing.T) TableBackend) {
	t.Helper()
	conform.Suite[TableBackend]{
		Cases: map[string]func(*testing.T, TableBackend){
			"transactions/a row is handed out once":                     handedOnce,
			"concurrency/a row is taken once, whoever handed it out":    takenOnce,
			"basic/a row that nobody handed out can be taken":           takenUnasked,
			"basic/the earliest rows are taken, and the rest told":      takenEarliest,
			"transactions/what is not due any more is freed, not taken": takenTooEarly,
			"basic/what was not taken can be freed":                     freed,
			"basic/what was taken is not freed":                         takenStays,
			"basic/what is settled and due is handed out again":         settledAgain,
			"basic/everything handed out can be freed":                  freedAll,
			"faults/what the dead relay had handed out is free":         relayDied,
			"basic/ids of nobody are nothing":                           unknown,
			"basic/nothing is handed out while nothing is due":          nothingDue,
		},
		Parallel: true,
	}.Run(t, open)
}

func (b TableBackend) due(t *testing.T, n int) (ids []message.ID) {
	t.Helper()
	for i := range n {
		ids = append(ids, guaranteetest.Accept(t, b.Store, "cli_a", fmt.Sprint(i)).ID)
	}
	return ids
}

func hand(t *testing.T, table feeder.Table, limit int) []message.ID {
	t.Helper()
	return source(table.Hand).give(t, limit)
}

func noneToHand(t *testing.T, table feeder.Table) {
	t.Helper()
	source(table.Hand).empty(t)
}

func takes(t *testing.T, table feeder.Table, offer []message.ID, limit int, taken, rest []message.ID) {
	t.Helper()
	gotTaken, gotRest, err := table.Take(t.Context(), offer, limit)
	if err != nil || !alike(gotTaken, taken) || !alike(gotRest, rest) {
		t.Fatalf("took %v and left %v, %v; want %v and %v", gotTaken, gotRest, err, taken, rest)
	}
}

func alike(a, b []message.ID) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func free(t *testing.T, table feeder.Table, ids []message.ID) {
	t.Helper()
	if err := table.Free(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
}

func handedOnce(t *testing.T, b TableBackend) {
	ids := b.due(t, 5)
	first := hand(t, b.Relay, 3)
	second := hand(t, b.Worker, 10)
	if !alike(append(first, second...), ids) || len(first) != 3 {
		t.Fatalf("handed out %v and %v of %v", first, second, ids)
	}
	noneToHand(t, b.Relay)
}

func takenOnce(t *testing.T, b TableBackend) {
	ids := b.due(t, 3)
	hand(t, b.Relay, 10)
	takes(t, b.Worker, append(ids, ids...), 10, ids, nil)
	takes(t, b.Worker, ids, 10, nil, nil)
	takes(t, b.Relay, ids, 10, nil, nil)
	noneToHand(t, b.Relay)
}

func takenUnasked(t *testing.T, b TableBackend) {
	ids := b.due(t, 2)
	takes(t, b.Worker, ids, 10, ids, nil)
	noneToHand(t, b.Relay)
}

func takenEarliest(t *testing.T, b TableBackend) {
	late := guaranteetest.Accept(t, b.Store, "cli_a", "late")
	wait := guaranteetest.Step(late, "Wait", guarantee.Waiting)
	wait.Due = Start.Add(time.Second)
	commit(t, b.Store, wait)
	early := b.due(t, 2)
	b.Advance(time.Minute)
	all := hand(t, b.Relay, 10)
	if len(all) != 3 || all[2] != late.ID {
		t.Fatalf("handed out %v, want %s last", all, late.ID)
	}
	takes(t, b.Worker, all, 2, early, []message.ID{late.ID})
	takes(t, b.Worker, all, 2, []message.ID{late.ID}, nil)
}

func takenTooEarly(t *testing.T, b TableBackend) {
	rec := guaranteetest.Accept(t, b.Store, "cli_a", "x")
	ids := hand(t, b.Relay, 10)
	commit(t, b.Store, guaranteetest.Step(rec, "Wait", guarantee.Waiting)) // due after a minute
	takes(t, b.Worker, ids, 10, nil, nil)
	noneToHand(t, b.Relay)
	b.Advance(time.Minute + time.Second)
	if again := hand(t, b.Relay, 10); !slices.Equal(again, ids) {
		t.Fatalf("handed out %v, want %v", again, ids)
	}
}

func freed(t *testing.T, b TableBackend) {
	ids := b.due(t, 4)
	hand(t, b.Relay, 10)
	takes(t, b.Worker, ids[:1], 10, ids[:1], nil)
	open, err := b.Relay.Untaken(t.Context(), ids)
	if err != nil || !alike(open, ids[1:]) {
		t.Fatalf("not taken are %v, %v; want %v", open, err, ids[1:])
	}
	free(t, b.Worker, ids) // another process has handed them out
	noneToHand(t, b.Worker)
	free(t, b.Relay, ids)
	if again := hand(t, b.Relay, 10); !alike(again, ids[1:]) {
		t.Fatalf("handed out again %v, want %v", again, ids[1:])
	}
}

func takenStays(t *testing.T, b TableBackend) {
	ids := b.due(t, 2)
	hand(t, b.Relay, 10)
	takes(t, b.Relay, ids, 10, ids, nil) // one process may do both
	free(t, b.Relay, ids)
	if n, err := b.Relay.FreeAll(t.Context()); err != nil || n != 0 {
		t.Errorf("freed %d, %v", n, err)
	}
	noneToHand(t, b.Relay)
}

func settledAgain(t *testing.T, b TableBackend) {
	ids := b.due(t, 2)
	hand(t, b.Relay, 10)
	takes(t, b.Worker, ids, 10, ids, nil)
	if err := b.Worker.Settle(t.Context(), ids[:1]); err != nil {
		t.Fatal(err)
	}
	if again := hand(t, b.Relay, 10); !slices.Equal(again, ids[:1]) {
		t.Fatalf("handed out %v, want %v", again, ids[:1])
	}
}

func freedAll(t *testing.T, b TableBackend) {
	ids := b.due(t, 3)
	hand(t, b.Relay, 2)
	hand(t, b.Worker, 1)
	if n, err := b.Worker.FreeAll(t.Context()); err != nil || n != 3 {
		t.Fatalf("freed %d, %v; want 3", n, err)
	}
	if again := hand(t, b.Relay, 10); !alike(again, ids) {
		t.Fatalf("handed out %v, want %v", again, ids)
	}
}

func relayDied(t *testing.T, b TableBackend) {
	ids := b.due(t, 3)
	hand(t, b.Relay, 10)
	takes(t, b.Worker, ids[:1], 10, ids[:1], nil)
	b.Crash()
	if again := hand(t, b.Worker, 10); !alike(again, ids[1:]) {
		t.Fatalf("handed out %v, want %v", again, ids[1:])
	}
}

func unknown(t *testing.T, b TableBackend) {
	takes(t, b.Worker, []message.ID{message.NewID()}, 10, nil, nil)
	takes(t, b.Worker, nil, 10, nil, nil)
	free(t, b.Relay, nil)
}

func nothingDue(t *testing.T, b TableBackend) {
	noneToHand(t, b.Relay)
	d, err := b.Relay.Depth(t.Context())
	if err != nil || d.Due != 0 {
		t.Errorf("depth %+v, %v", d, err)
	}
}
